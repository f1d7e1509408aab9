#include "jobs/store_options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/errors.h"
#include "base/files.h"
#include "support/temp_dir.h"

namespace davit::jobs {
namespace {

using base::UsageError;
using ::testing::HasSubstr;
using ::testing::Not;

class StoreOptionsTest : public ::testing::Test {
 protected:
  Settings make(std::map<std::string, std::string> environment) {
    return Settings(directory_ / "davit.conf", std::move(environment), {});
  }
  std::string file(const std::string& name, const std::string& text) {
    base::write_file_atomic(directory_ / name, base::as_bytes(text));
    return directory_ / name;
  }
  test::TempDir directory_;
};

TEST_F(StoreOptionsTest, KeysComeFromTheEnvironmentOrFromFilesThatMayChange) {
  const Settings settings = make({{"AWS_ACCESS_KEY_ID", "KEY"},
                                  {"AWS_SECRET_ACCESS_KEY_FILE", file("secret", " first \n")},
                                  {"AWS_SESSION_TOKEN_FILE", file("token", "token\r\n")},
                                  {"AWS_REGION", "there"},
                                  {"RESTIC_CACERT", "/ca"},
                                  {"DAVIT_S3_BUCKET_LOOKUP", "dns"}});
  const store::StoreOptions options = store_options(settings, directory_.path());
  EXPECT_EQ(options.s3_credentials().access_key, "KEY");
  EXPECT_EQ(options.s3_credentials().secret_key, "first");
  EXPECT_EQ(options.s3_credentials().session_token, "token");
  file("secret", "second");
  EXPECT_EQ(options.s3_credentials().secret_key, "second");
  EXPECT_EQ(options.s3_region, "there");
  EXPECT_EQ(options.ca_file, "/ca");
  EXPECT_EQ(options.s3_style, store::s3::Style::host);
  EXPECT_EQ(
      store_options(make({{"AWS_REGION", "there"}, {"AWS_DEFAULT_REGION", "here"}}), directory_.path())
          .s3_region,
      "here");
}

TEST_F(StoreOptionsTest, SftpAndRestServersAreReachedWithWhatFilesHold) {
  const Settings plain = make({});
  store::StoreOptions options = store_options(plain, "/data");
  EXPECT_EQ(options.sftp_key_file, "/data/secrets/sftp-key");
  EXPECT_EQ(options.sftp_known_hosts_file, "/data/secrets/known_hosts");
  EXPECT_EQ(options.sftp_passphrase(), "");
  EXPECT_EQ(options.rest_login().user, "");
  EXPECT_EQ(options.rest_login().password, "");
  const Settings settings = make({{"DAVIT_SFTP_KEY_FILE", "/key"},
                                  {"DAVIT_SFTP_KNOWN_HOSTS_FILE", "/known"},
                                  {"DAVIT_SFTP_KEY_PASSPHRASE_FILE", file("phrase", "two words\n")},
                                  {"RESTIC_REST_USERNAME", "me"},
                                  {"RESTIC_REST_PASSWORD_FILE", file("password", " hunter2\r\n")}});
  options = store_options(settings, "/data");
  EXPECT_EQ(options.sftp_key_file, "/key");
  EXPECT_EQ(options.sftp_known_hosts_file, "/known");
  EXPECT_EQ(options.sftp_passphrase(), "two words");
  EXPECT_EQ(options.rest_login().user, "me");
  EXPECT_EQ(options.rest_login().password, " hunter2");
  EXPECT_NE(describe_store_options(plain), describe_store_options(settings));
  EXPECT_THAT(describe_store_options(settings), Not(HasSubstr("hunter2")));
}

TEST_F(StoreOptionsTest, WhatIsMissingIsNamed) {
  const auto words = [&](std::map<std::string, std::string> environment) -> std::string {
    const Settings settings = make(std::move(environment));
    try {
      store_options(settings, directory_.path()).s3_credentials();
    } catch (const UsageError& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_THAT(words({}), HasSubstr("set AWS_ACCESS_KEY_ID, or AWS_ACCESS_KEY_ID_FILE"));
  EXPECT_THAT(words({{"AWS_ACCESS_KEY_ID", "KEY"}}), HasSubstr("AWS_SECRET_ACCESS_KEY_FILE"));
  EXPECT_THAT(words({{"AWS_ACCESS_KEY_ID_FILE", "/nowhere"}}), HasSubstr("no file /nowhere"));
  EXPECT_THAT(words({{"AWS_ACCESS_KEY_ID_FILE", file("empty", "\n")}}), HasSubstr("is empty"));
  EXPECT_THROW(make({{"DAVIT_S3_BUCKET_LOOKUP", "virtual"}}), UsageError);
}

TEST_F(StoreOptionsTest, ADescriptionTellsAChangeAndNoSecret) {
  const Settings before = make({{"AWS_SECRET_ACCESS_KEY", "hunter2"}}),
                 after = make({{"AWS_DEFAULT_REGION", "x"}});
  EXPECT_NE(describe_store_options(before), describe_store_options(after));
  EXPECT_THAT(describe_store_options(before), Not(HasSubstr("hunter2")));
}

// Secrets are not kept in the settings' file.
TEST_F(StoreOptionsTest, TheFileTakesNoSecret) {
  Settings settings = make({});
  EXPECT_THROW(settings.set("AWS_SECRET_ACCESS_KEY", "hunter2"), UsageError);
  EXPECT_THROW(settings.set("AWS_SESSION_TOKEN", "hunter2"), UsageError);
  EXPECT_THROW(settings.set("RESTIC_REST_PASSWORD", "hunter2"), UsageError);
  EXPECT_THROW(settings.set("DAVIT_SFTP_KEY_PASSPHRASE", "hunter2"), UsageError);
  EXPECT_NO_THROW(settings.set("AWS_SECRET_ACCESS_KEY_FILE", "/file"));
  EXPECT_NO_THROW(settings.set("RESTIC_REPOSITORY", "s3:http://127.0.0.1:1/bucket"));
}

}  // namespace
}  // namespace davit::jobs
