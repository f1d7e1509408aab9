// Repository URLs of SFTP and REST servers, as restic takes them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/errors.h"
#include "store/open.h"
#include "store/sftp/address.h"

namespace davit::store {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

std::string refusal(const std::string& url) {
  try {
    open_store(url);
  } catch (const base::UsageError& error) {
    EXPECT_THAT(error.what(), Not(HasSubstr("hunter2"))) << url;
    return error.what();
  }
  return "taken";
}

TEST(SftpAddress, IsWhatResticTakes) {
  struct Row {
    std::string url, user, host;
    int port;
    std::string path, shown;
  };
  for (const Row& row : std::initializer_list<Row>{
           {"sftp:me@host:/srv/backup", "me", "host", 22, "/srv/backup",
            "sftp:me@host:/srv/backup"},
           {"sftp:me@host:backup/", "me", "host", 22, "backup", "sftp:me@host:backup"},
           {"sftp:me@host:", "me", "host", 22, ".", "sftp:me@host:."},
           {"sftp:me@realm@host:/a:b", "me@realm", "host", 22, "/a:b", "sftp:me@realm@host:/a:b"},
           {"sftp:host:/a", "", "host", 22, "/a", "sftp:host:/a"},
           {"sftp://me@host//srv//b/./c/", "me", "host", 22, "/srv/b/c", "sftp:me@host:/srv/b/c"},
           {"sftp://me@host/backup", "me", "host", 22, "backup", "sftp:me@host:backup"},
           {"sftp://me@host:2222//a%20b", "me", "host", 2222, "/a b", "sftp://me@host:2222//a b"},
           {"sftp://me@[::1]:2222/b", "me", "::1", 2222, "b", "sftp://me@[::1]:2222/b"},
           {"sftp://me%40realm@host//", "me@realm", "host", 22, "/", "sftp:me@realm@host:/"}}) {
    const sftp::Address address = sftp::parse_address(row.url);
    EXPECT_EQ(address.server.user, row.user) << row.url;
    EXPECT_EQ(address.server.host, row.host) << row.url;
    EXPECT_EQ(address.server.port, row.port) << row.url;
    EXPECT_EQ(address.path, row.path) << row.url;
    EXPECT_EQ(sftp::to_string(address), row.shown) << row.url;
    const sftp::Address again = sftp::parse_address(row.shown);
    EXPECT_EQ(again.path, row.path) << row.shown;
    EXPECT_EQ(again.server.port, row.port) << row.shown;
  }
}

TEST(SftpAddress, RefusesWhatItCannotMean) {
  EXPECT_THAT(refusal("sftp:host"), HasSubstr("no path"));
  EXPECT_THAT(refusal("sftp:me@:/a"), HasSubstr("no host"));
  EXPECT_THAT(refusal("sftp://me@host:0//a"), HasSubstr("port"));
  EXPECT_THAT(refusal("sftp://me@host:99999//a"), HasSubstr("port"));
  EXPECT_THAT(refusal("sftp://me:hunter2@host//a"), HasSubstr("DAVIT_SFTP_KEY_FILE"));
  EXPECT_THAT(refusal("sftp:me@host:~/a"), HasSubstr("'~'"));
  EXPECT_THAT(refusal("sftp:me@host:/a/../b"), HasSubstr("'..'"));
  EXPECT_THAT(refusal("sftp:me@host:/a\nb"), HasSubstr("control"));
  EXPECT_THAT(refusal("sftp://me@[::1//a"), HasSubstr("[]"));
}

TEST(RestAddress, IsWhatResticTakes) {
  const auto address = rest::parse_address("rest:https://me:a%2Fhunter2@host:8000/repo");
  EXPECT_EQ(address.url, "https://host:8000/repo/");
  EXPECT_EQ(address.login.user, "me");
  EXPECT_EQ(address.login.password, "a/hunter2");
  EXPECT_EQ(open_store("rest:https://me:hunter2@host:8000/repo/")->describe(),
            "rest:https://host:8000/repo/");
  EXPECT_EQ(open_store("rest:http://host")->describe(), "rest:http://host/");
  EXPECT_THAT(refusal("rest:host:8000/hunter2"), HasSubstr("http://"));
  EXPECT_THAT(refusal("rest:https://"), HasSubstr("no host"));
  EXPECT_THAT(refusal("rest:https://host/?hunter2"), HasSubstr("no query"));
}

TEST(ShownUrl, HasNoPassword) {
  EXPECT_EQ(shown_url("rest:https://me:hunter2@host/a"), "rest:https://host/a/");
  EXPECT_EQ(shown_url("rest:hunter2"), "rest:…");
  EXPECT_EQ(shown_url("sftp:me@host:/a"), "sftp:me@host:/a");
  EXPECT_EQ(shown_url("/srv/backup"), "/srv/backup");
}

}  // namespace
}  // namespace davit::store
