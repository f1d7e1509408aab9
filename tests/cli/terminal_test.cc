// The client on a terminal: bars, colours, prompts, Ctrl-C.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cli/daemons.h"

namespace davit::cli {
namespace {

using test::ClientProcess;
using test::Gate;
using test::Ran;
using test::TestDaemon;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using Environment = std::map<std::string, std::string>;

ClientProcess::Options on_terminal(const Environment& environment = {}) {
  ClientProcess::Options options;
  options.on_terminal = true;
  options.environment = environment;
  options.environment.try_emplace("TERM", "xterm");
  return options;
}

std::vector<jobs::BackupOutcome> saved(const std::string& volume) {
  std::vector<jobs::BackupOutcome> outcomes(1);
  outcomes[0].volume = volume;
  return outcomes;
}

TEST(OnTerminal, ShowsABarWhileABackupRunsAndTakesItAway) {
  Gate seen;
  TestDaemon daemon;
  daemon.operations.on_backup = [&](const auto&, const jobs::Emit& emit, std::stop_token) {
    jobs::ProgressEvent event;
    event.volume = "db";
    event.phase = "saving";
    event.bytes_done = 50 << 20;
    event.bytes_total = 100 << 20;
    emit(event);
    EXPECT_TRUE(seen.wait());
    return saved("db");
  };
  ClientProcess client = daemon.start({"backup", "db"}, on_terminal());
  EXPECT_TRUE(client.wait_for("50.0 MiB of 100.0 MiB")) << client.out();
  EXPECT_THAT(client.out(), HasSubstr("[####"));
  seen.open();
  const Ran ran = client.finish();
  EXPECT_EQ(ran.exit_code, 0);
  EXPECT_THAT(ran.out, HasSubstr("\x1b[1A\x1b[J"));
  EXPECT_THAT(ran.out, HasSubstr("\x1b[32msaved\x1b[0m"));
}

TEST(OnTerminal, ShowsNoBarWhenQuietOrJson) {
  for (const char* option : {"--quiet", "--json"}) {
    TestDaemon daemon;
    daemon.operations.on_backup = [&](const auto&, const jobs::Emit& emit, std::stop_token) {
      jobs::ProgressEvent event;
      event.phase = "saving";
      event.bytes_total = 10;
      emit(event);
      return saved("db");
    };
    const Ran ran = daemon.run({"backup", option}, on_terminal());
    EXPECT_EQ(ran.exit_code, 0);
    EXPECT_THAT(ran.out, Not(HasSubstr("\x1b"))) << option;
  }
}

TEST(OnTerminal, HasNoColourWhereItIsNotWanted) {
  for (const Environment& environment :
       {Environment{{"NO_COLOR", "1"}}, Environment{{"TERM", "dumb"}}}) {
    TestDaemon daemon;
    daemon.operations.on_backup = [&](const auto&, const auto&, auto) { return saved("db"); };
    const Ran ran = daemon.run({"backup"}, on_terminal(environment));
    EXPECT_THAT(ran.out, HasSubstr("saved"));
    EXPECT_THAT(ran.out, Not(HasSubstr("\x1b[3")));
  }
}

TEST(OnTerminal, CtrlCLeavesABackupRunningAndSaysHowToWatchIt) {
  Gate begun, go_on, ended;
  std::atomic<bool> stopped{false};
  TestDaemon daemon;
  daemon.operations.on_backup = [&](const auto&, const auto&, std::stop_token stop) {
    begun.open();
    EXPECT_TRUE(go_on.wait());
    stopped = stop.stop_requested();
    ended.open();
    return saved("db");
  };
  ClientProcess client = daemon.start({"backup", "db"}, on_terminal());
  ASSERT_TRUE(begun.wait());
  client.type("\x03");
  const Ran ran = client.finish();
  EXPECT_EQ(ran.exit_code, 130);
  EXPECT_THAT(ran.out, HasSubstr("the backup goes on in the daemon; watch it with: davit wait db"));
  go_on.open();
  EXPECT_TRUE(ended.wait());
  EXPECT_FALSE(stopped.load());
}

TEST(OnTerminal, CtrlCEndsACheckInTheDaemonToo) {
  Gate begun, ended;
  TestDaemon daemon;
  daemon.operations.on_check = [&](const auto&, std::stop_token stop) -> upkeep::CheckReport {
    begun.open();
    Gate never;
    never.wait(stop);
    if (stop.stop_requested()) ended.open();
    throw base::Cancelled();
  };
  ClientProcess client = daemon.start({"check"}, on_terminal());
  ASSERT_TRUE(begun.wait());
  client.type("\x03");
  const Ran ran = client.finish();
  EXPECT_EQ(ran.exit_code, 130);
  EXPECT_THAT(ran.out, HasSubstr("davit: interrupted"));
  EXPECT_TRUE(ended.wait());
}

TEST(OnTerminal, AsksForAPasswordTwiceAndDoesNotShowIt) {
  TestDaemon daemon;
  ClientProcess client = daemon.start({"key", "add"}, on_terminal());
  ASSERT_TRUE(client.wait_for("New password: "));
  client.type("swordfish\n");
  ASSERT_TRUE(client.wait_for("New password again: "));
  client.type("swordfish\n");
  const Ran ran = client.finish();
  EXPECT_EQ(ran.exit_code, 0) << ran.out;
  EXPECT_THAT(ran.out, Not(HasSubstr("swordfish")));
  EXPECT_THAT(daemon.operations.asked(), ElementsAre("key add swordfish"));
}

TEST(OnTerminal, RefusesTwoPasswordsThatDiffer) {
  TestDaemon daemon;
  ClientProcess client = daemon.start({"key", "passwd"}, on_terminal());
  ASSERT_TRUE(client.wait_for("New password: "));
  client.type("one\n");
  ASSERT_TRUE(client.wait_for("again: "));
  client.type("two\n");
  const Ran ran = client.finish();
  EXPECT_EQ(ran.exit_code, 1);
  EXPECT_THAT(ran.out, HasSubstr("the two were not the same"));
  EXPECT_TRUE(daemon.operations.asked().empty());
}

TEST(OnTerminal, CtrlCAtAPromptEndsTheClient) {
  TestDaemon daemon;
  ClientProcess client = daemon.start({"key", "add"}, on_terminal());
  ASSERT_TRUE(client.wait_for("New password: "));
  client.type("\x03");
  EXPECT_EQ(client.finish().exit_code, 130);
  EXPECT_TRUE(daemon.operations.asked().empty());
}

TEST(OnTerminal, EscapesNamesOfFilesOnlyThere) {
  TestDaemon daemon;
  daemon.operations.on_list_files = [](const auto& each) {
    jobs::ListedNode node;
    node.path = "evil\x1b[2J\xff";
    node.type = "file";
    each(node);
  };
  EXPECT_EQ(daemon.run({"ls", "db"}, on_terminal()).out, "evil\\x1b[2J\\xff\r\n");
  EXPECT_EQ(daemon.run({"ls", "db"}).out, "evil\x1b[2J\xff\n");
}

}  // namespace
}  // namespace davit::cli
