// Whatever answers on the socket, the client ends by itself, with an error, and without writing
// control characters.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cli/daemons.h"

namespace davit::cli {
namespace {

using test::Ran;
using test::RawDaemon;
using testing::HasSubstr;

const std::string kHead = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
const std::string kEnd = "0\r\n\r\n";

std::string chunk(const std::string& text) {
  char size[20];
  std::snprintf(size, sizeof size, "%zx\r\n", text.size());
  return size + text + "\r\n";
}

Ran answered(const std::string& bytes, const std::vector<std::string>& arguments = {"status"}) {
  RawDaemon daemon([&](int fd) { RawDaemon::send(fd, bytes); });
  return daemon.run(arguments);
}

TEST(HostileDaemon, ACutAnswerIsAFailure) {
  const std::string line = chunk("{\"message_type\":\"x\"}\n");
  for (const std::string& bytes : {std::string(), std::string("HTTP/1.1 2"), kHead,
                                   kHead + "5\r\n{\"m", kHead + line, kHead + line + kEnd}) {
    const Ran ran = answered(bytes);
    EXPECT_EQ(ran.exit_code, 1) << bytes;
    EXPECT_THAT(ran.err, HasSubstr("davit: the daemon's answer broke off")) << bytes;
  }
}

TEST(HostileDaemon, GarbageIsAFailure) {
  for (const std::string& bytes :
       {std::string("SSH-2.0-OpenSSH_9.2\r\n"), std::string(200'000, '\xff'),
        kHead + chunk("not json\n"), kHead + chunk("[]\n"), kHead + chunk("{}\n"),
        kHead + chunk("{\"message_type\":5}\n"), kHead + chunk(std::string(100'000, '[') + "\n"),
        kHead + "zz\r\n"}) {
    const Ran ran = answered(bytes);
    EXPECT_EQ(ran.exit_code, 1);
    EXPECT_THAT(ran.err, HasSubstr("does not speak davit's language"));
    EXPECT_EQ(ran.out, "");
  }
}

TEST(HostileDaemon, AnotherHttpStatusIsAFailure) {
  const Ran ran = answered("HTTP/1.1 503 Busy\r\nContent-Length: 9\r\n\r\n\x1b[31mbusy");
  EXPECT_EQ(ran.exit_code, 1);
  EXPECT_EQ(ran.err, "davit: the daemon answered with HTTP status 503: \\x1b[31mbusy\n");
  EXPECT_THAT(answered("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").err,
              HasSubstr("HTTP status 404"));
}

TEST(HostileDaemon, AnExitCodeThatIsNoneIsAFailure) {
  for (const char* field : {",\"exit_code\":256", ",\"exit_code\":-1", ",\"exit_code\":\"0\"",
                            ",\"exit_code\":0.0", ""}) {
    const Ran ran = answered(
        kHead + chunk("{\"message_type\":\"exit\"" + std::string(field) + "}\n") + kEnd, {"prune"});
    EXPECT_EQ(ran.exit_code, 1) << field;
  }
}

TEST(HostileDaemon, CannotWriteControlCharacters) {
  const std::string evil = "\\u001b]0;evil\\u0007\\n";
  const auto pair = [](const std::string& key, const std::string& value) {
    return ",\"" + key + "\":" + value;
  };
  const std::string text = "\"" + evil + "\"", list = "[" + text + "]";
  std::string fields;
  for (const char* field : {"name",        "volume",
                            "version",     "host",
                            "repository",  "repository_state",
                            "state",       "error",
                            "message",     "id",
                            "time",        "hostname",
                            "username",    "userName",
                            "hostName",    "created",
                            "key",         "value",
                            "origin",      "description",
                            "schedule",    "outcome",
                            "action",      "retention",
                            "next_prune",  "next_backup",
                            "last_prune",  "last_prune_error",
                            "removed",     "mtime",
                            "type",        "snapshot_id",
                            "consistency", "safety_snapshot_id",
                            "installation", "tracking",
                            "mirror",      "note",
                            "path",        "what",
                            "why",         "new_snapshot_id",
                            "text"})
    fields += pair(field, text);
  for (const char* field : {"problems", "tags", "paths", "reasons", "damaged_snapshots"}) fields += pair(field, list);
  fields += pair("group", "{\"volume\":" + text + ",\"host\":" + text + "}");
  fields += pair("scrub", "{\"oldest\":" + text + pair("next", text) + pair("error", text) + "}");
  fields += pair("damage", "{\"by\":" + text + pair("found", text) + pair("messages", list) + "}");
  fields += pair("running", "{\"phase\":" + text + "}");
  fields += pair("options", "{" + text + ":" + text + "}");
  fields += pair("last_backup", "{\"error\":" + text + pair("succeeded", text) +
                                    pair("attempted", text) + pair("consistency", text) + "}");
  std::string lines;
  for (const char* type : {"daemon", "volume", "removed_volume", "snapshot", "forget", "key",
                           "lock", "mirror", "setting", "summary", "problem", "hint", "error", "initialized",
                           "repaired", "action", "lost", "mended"})
    lines += std::string("{\"message_type\":\"") + type + "\"" + fields + "}\n";
  lines += "{\"message_type\":\"exit\",\"exit_code\":0}\n";

  using Words = std::vector<std::string>;
  for (Words command :
       {Words{"status"}, Words{"snapshots"}, Words{"forget", "-n"}, Words{"backup"},
        Words{"restore", "x"}, Words{"wait", "x"}, Words{"prune"}, Words{"check"}, Words{"repair"},
        Words{"unlock"}, Words{"init"}, Words{"mirrors"}, Words{"key", "list"}, Words{"config", "list"},
        Words{"config", "list", "--volume", "\x1b]0;evil\x07\n"}}) {
    for (int verbose = 0; verbose < 2; ++verbose) {
      const Ran ran = answered(kHead + chunk(lines) + kEnd, command);
      EXPECT_EQ((ran.out + ran.err).find_first_of("\x1b\x07"), std::string::npos)
          << command[0] << ran.out << ran.err;
      EXPECT_THAT(ran.err + ran.out, HasSubstr("\\x1b]0;evil")) << command[0];
      command.push_back("--verbose");
    }
  }
}

TEST(HostileDaemon, AnswersThatNeverEndAreBounded) {
  const std::string block = chunk(std::string(1 << 20, 'x'));
  RawDaemon daemon([&](int fd) {
    RawDaemon::send(fd, kHead);
    for (int i = 0; i < 64; ++i) RawDaemon::send(fd, block);
  });
  const Ran ran = daemon.run({"status"});
  EXPECT_EQ(ran.exit_code, 1);
  EXPECT_THAT(ran.err, HasSubstr("a line is too long"));
}

TEST(HostileDaemon, ABackupWhoseDaemonVanishesIsSaidToGoOnMaybe) {
  const Ran ran = answered(kHead, {"backup", "db"});
  EXPECT_EQ(ran.exit_code, 1);
  EXPECT_EQ(ran.err,
            "davit: the backup may go on; see with: davit wait db\ndavit: the daemon's answer "
            "broke off\n");
}

}  // namespace
}  // namespace davit::cli
