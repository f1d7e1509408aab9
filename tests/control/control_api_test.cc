#include "control/control_api.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <thread>

#include "control/fake_operations.h"

namespace davit::control {
namespace {

using nlohmann::json;
using test::FakeOperations;
using test::Gate;
using testing::ElementsAre;

base::Id id_of(char digit) {
  return *base::Id::parse(std::string(64, digit));
}

jobs::SnapshotInfo snapshot(char digit, const std::string& volume) {
  jobs::SnapshotInfo info;
  info.id = id_of(digit);
  info.snapshot.time.time = base::parse_rfc3339("2026-11-21T18:00:00Z");
  info.snapshot.tree = id_of('e');
  info.snapshot.paths = {"/volumes/" + volume};
  info.snapshot.hostname = "ship";
  info.volume = volume;
  return info;
}

class ControlApiTest : public testing::Test {
 protected:
  std::vector<json> ask(const std::string& command, const json& body = json::object()) {
    return ask_raw("POST", "/v1/" + command, body.dump());
  }
  std::vector<json> ask_raw(const std::string& method, const std::string& path,
                            const std::string& body) {
    std::string text;
    api_.handle(method, path, body, [&](std::string_view lines) { text += lines; }, {});
    return parse(text);
  }
  static std::vector<json> parse(const std::string& text) {
    std::vector<json> messages;
    size_t at = 0;
    while (at < text.size()) {
      const size_t end = text.find('\n', at);
      EXPECT_NE(end, std::string::npos) << "the last line has no end: " << text;
      if (end == std::string::npos) break;
      messages.push_back(json::parse(text.substr(at, end - at)));
      at = end + 1;
    }
    return messages;
  }
  static int exit_code(const std::vector<json>& messages) {
    if (messages.empty() || messages.back()["message_type"] != "exit") return -1;
    return messages.back()["exit_code"];
  }

  FakeOperations operations_;
  ControlApi api_{operations_, "1.2.3"};
};

TEST_F(ControlApiTest, TellsItsVersion) {
  const auto messages = ask_raw("GET", "/v1/version", "");
  EXPECT_EQ(messages.at(0), json::parse(R"({"message_type":"version","version":"1.2.3","api":1})"));
  EXPECT_EQ(exit_code(messages), 0);
}

TEST_F(ControlApiTest, AnswersWhatItDoesNotKnowWithAnErrorAndAnExitLine) {
  for (const auto& [method, path] :
       std::vector<std::pair<std::string, std::string>>{{"POST", "/v1/explode"},
                                                        {"POST", "/"},
                                                        {"POST", ""},
                                                        {"GET", "/v1/status"},
                                                        {"POST", "/v1/version"}}) {
    const auto messages = ask_raw(method, path, "{}");
    ASSERT_EQ(messages.size(), 2u) << path;
    EXPECT_EQ(messages[0]["message_type"], "error");
    EXPECT_EQ(messages[0]["code"], 1);
    EXPECT_EQ(exit_code(messages), 1);
  }
  EXPECT_TRUE(operations_.asked().empty());
}

TEST_F(ControlApiTest, RefusesAnUnknownFieldBeforeItDoesAnything) {
  const auto messages = ask("forget", {{"targets", {"db"}}, {"dryrun", true}});
  EXPECT_EQ(messages.at(0)["kind"], "usage");
  EXPECT_EQ(exit_code(messages), 1);
  EXPECT_TRUE(operations_.asked().empty());
}

TEST_F(ControlApiTest, ReportsABackupWithItsProgressAndExitsWithTheWorstOutcome) {
  using jobs::Outcome;
  std::vector<Outcome> outcomes;
  operations_.on_backup = [&](const auto&, const jobs::Emit& emit, std::stop_token) {
    jobs::ProgressEvent event;
    event.volume = "db";
    event.phase = "saving";
    event.bytes_done = 5;
    event.bytes_total = 10;
    event.fraction = 0.5;
    event.seconds_left = 3;
    emit(event);
    std::vector<jobs::BackupOutcome> result;
    for (const Outcome outcome : outcomes) {
      jobs::BackupOutcome one;
      one.volume = "db";
      one.outcome = outcome;
      one.snapshot = id_of('a').hex();
      one.summary.data_added = 7;
      one.problems = {"x: Permission denied"};
      result.push_back(one);
    }
    return result;
  };
  outcomes = {Outcome::ok};
  auto messages = ask("backup", {{"volumes", {"db"}}});
  EXPECT_EQ(
      messages.at(0),
      json::parse(R"({"message_type":"status","volume":"db","phase":"saving","percent_done":0.5,
    "seconds_remaining":3,"files_done":0,"bytes_done":5,"total_bytes":10})"));
  EXPECT_EQ(messages.at(1)["message_type"], "summary");
  EXPECT_EQ(messages.at(1)["volume"], "db");
  EXPECT_EQ(messages.at(1)["outcome"], "ok");
  EXPECT_EQ(messages.at(1)["snapshot_id"], id_of('a').hex());
  EXPECT_EQ(messages.at(1)["data_added"], 7);
  EXPECT_EQ(messages.at(1)["problems"].at(0), "x: Permission denied");
  EXPECT_EQ(exit_code(messages), 0);

  outcomes = {Outcome::ok, Outcome::partial, Outcome::ok};
  EXPECT_EQ(exit_code(ask("backup")), 3);
  outcomes = {Outcome::partial, Outcome::failed, Outcome::partial};
  EXPECT_EQ(exit_code(ask("backup")), 1);
  EXPECT_THAT(operations_.asked(), ElementsAre("backup db", "backup", "backup"));
}

TEST_F(ControlApiTest, BacksUpContainersAndTellsThePoint) {
  operations_.on_backup = [&](const auto&, const auto&, auto) {
    std::vector<jobs::BackupOutcome> outcomes(2);
    outcomes[0].volume = "db";
    outcomes[0].point = outcomes[1].point = "0123456789abcdef";
    outcomes[1].container = "web";
    outcomes[1].outcome = jobs::Outcome::failed;
    outcomes[1].error = "the container web is gone";
    return outcomes;
  };
  const auto messages = ask("backup", {{"volumes", {"db"}}, {"containers", {"web"}}});
  EXPECT_EQ(messages.at(0)["volume"], "db");
  EXPECT_FALSE(messages.at(0).contains("container"));
  EXPECT_EQ(messages.at(0)["point"], "0123456789abcdef");
  EXPECT_EQ(messages.at(1)["container"], "web");
  EXPECT_EQ(messages.at(1)["error"], "the container web is gone");
  EXPECT_EQ(exit_code(messages), 1) << "a container counts";
  EXPECT_THAT(operations_.asked(), ElementsAre("backup db container=web"));
}

TEST_F(ControlApiTest, TurnsErrorsIntoAnErrorLineAndTheirExitCode) {
  operations_.before_any = [] { throw base::Locked("the repository is locked by ship-7"); };
  for (const char* command : {"backup", "status", "prune", "check", "unlock"}) {
    const auto messages = ask(command);
    ASSERT_EQ(messages.size(), 2u) << command;
    EXPECT_EQ(messages[0],
              json::parse(R"({"message_type":"error","message":"the repository is locked by ship-7",
      "kind":"locked","code":11})"));
    EXPECT_EQ(exit_code(messages), 11) << command;
  }
}

TEST_F(ControlApiTest, RestoresToTheVolumeThatTheReferenceNames) {
  operations_.snapshot_list = {snapshot('a', "db"), snapshot('b', "web"), snapshot('c', "")};
  EXPECT_EQ(exit_code(ask("restore", {{"reference", "db@2026-11-21T18:00:00"}})), 0);
  EXPECT_EQ(exit_code(ask("restore", {{"reference", "ship:db@latest"}, {"in_place", true}})), 0);
  EXPECT_EQ(exit_code(ask("restore", {{"reference", "bbbbbbbb"}})), 0);
  EXPECT_EQ(exit_code(ask("restore",
                          {{"reference", "db"}, {"target", "new"}, {"options", {{"a", "b"}}}})),
            0);
  EXPECT_THAT(
      operations_.asked(),
      ElementsAre("restore db@2026-11-21T18:00:00 to db", "restore ship:db@latest to db in place",
                  "snapshots '' ''", "restore bbbbbbbb to web", "restore db to new a=b"));
}

TEST_F(ControlApiTest, RefusesARestoreWhoseTargetItCannotTell) {
  operations_.snapshot_list = {snapshot('c', "")};
  for (const json& body :
       {json{{"reference", ""}}, json{{"reference", "@latest"}}, json{{"reference", "auto"}},
        json{{"reference", "cccccccc"}}, json{{"reference", "dddddddd"}}}) {
    EXPECT_EQ(exit_code(ask("restore", body)), 1) << body;
  }
  for (const auto& line : operations_.asked()) EXPECT_FALSE(line.starts_with("restore")) << line;
}

TEST_F(ControlApiTest, ABareIdThatIsAlsoAVolumesNameIsTheVolume) {
  operations_.snapshot_list = {snapshot('a', "web"), snapshot('b', "aaaaaaaa")};
  EXPECT_EQ(exit_code(ask("restore", {{"reference", "aaaaaaaa"}})), 0);
  EXPECT_THAT(operations_.asked(), testing::Contains("restore aaaaaaaa to aaaaaaaa"));
}

TEST_F(ControlApiTest, ExitsWithPartialWhenARestoreHadProblems) {
  operations_.on_restore = [](const auto&, const auto&, auto) {
    jobs::RestoreOutcome outcome;
    outcome.problems = {"a: cannot set user.x: Operation not supported"};
    return outcome;
  };
  EXPECT_EQ(exit_code(ask("restore", {{"reference", "db"}})), 3);
}

TEST_F(ControlApiTest, ListsSnapshotsAsResticDoes) {
  auto info = snapshot('a', "db");
  info.snapshot.tags = {"davit"};
  info.snapshot.summary = repo::SnapshotSummary();
  info.snapshot.summary->total_bytes_processed = 99;
  operations_.snapshot_list = {info};
  const auto messages = ask("snapshots", {{"volume", "db"}, {"host", "ship"}});
  EXPECT_EQ(messages.at(0)["id"], id_of('a').hex());
  EXPECT_EQ(messages.at(0)["short_id"], "aaaaaaaa");
  EXPECT_EQ(messages.at(0)["time"], "2026-11-21T18:00:00Z");
  EXPECT_EQ(messages.at(0)["paths"], json({"/volumes/db"}));
  EXPECT_EQ(messages.at(0)["tags"], json({"davit"}));
  EXPECT_EQ(messages.at(0)["summary"]["total_bytes_processed"], 99);
  EXPECT_FALSE(messages.at(0).contains("parent"));
  EXPECT_THAT(operations_.asked(), ElementsAre("snapshots 'db' 'ship'"));
}

TEST_F(ControlApiTest, GivesNamesThatAreNotUtf8Whole) {
  operations_.on_list_files = [](const auto& each) {
    jobs::ListedNode node;
    node.path = "a\xff\n";
    node.type = "symlink";
    node.linktarget = "plain";
    each(node);
  };
  const auto messages = ask("ls", {{"reference", "db"}, {"path", "x"}, {"recursive", true}});
  EXPECT_EQ(messages.at(0)["path"], "a\xef\xbf\xbd\n");
  EXPECT_EQ(messages.at(0)["path_base64"], "Yf8K");
  EXPECT_EQ(messages.at(0)["linktarget"], "plain");
  EXPECT_FALSE(messages.at(0).contains("linktarget_base64"));
  EXPECT_THAT(operations_.asked(), ElementsAre("ls db 'x' recursive"));
}

TEST_F(ControlApiTest, EndsAListingWhoseReaderIsGone) {
  size_t given = 0;
  operations_.on_list_files = [&](const auto& each) {
    for (; given < 1'000'000; ++given) {
      jobs::ListedNode node;
      node.path = "some/file";
      each(node);
    }
  };
  size_t writes = 0;
  api_.handle("POST", "/v1/ls", R"({"reference":"db"})",
              [&](std::string_view) {
                ++writes;
                throw base::IoError("Broken pipe", 32);
              },
              {});
  EXPECT_EQ(writes, 1u);
  EXPECT_LT(given, 10'000u);
}

TEST_F(ControlApiTest, ABackupGoesOnWhenItsClientHangsUp) {
  Gate begun, go_on, ended;
  std::atomic<bool> stopped{false}, through{false};
  operations_.on_backup = [&](const auto&, const jobs::Emit& emit, std::stop_token stop) {
    begun.open();
    EXPECT_TRUE(go_on.wait());
    emit({});
    stopped = stop.stop_requested();
    through = true;
    ended.open();
    return std::vector<jobs::BackupOutcome>();
  };
  {
    ControlApi api(operations_, "1");
    std::stop_source client;
    std::jthread request([&] {
      api.handle(
          "POST", "/v1/backup", "{}", [](std::string_view) {}, client.get_token());
    });
    ASSERT_TRUE(begun.wait());
    client.request_stop();
    request.join();  // the request has ended while the backup has not
    EXPECT_FALSE(through.load());
    go_on.open();
    // Another request finds the finished one out of the way.
    std::string text;
    api.handle("POST", "/v1/wait", R"({"volume":"db"})",
               [&](std::string_view lines) { text += lines; }, {});
    EXPECT_EQ(exit_code(parse(text)), 0);
    EXPECT_TRUE(ended.wait());
  }
  EXPECT_FALSE(stopped.load());
}

TEST_F(ControlApiTest, AThrowingWriteIsAHangUpToo) {
  Gate go_on, ended;
  std::atomic<bool> through{false};
  operations_.on_backup = [&](const auto&, const jobs::Emit& emit, std::stop_token) {
    emit({});
    EXPECT_TRUE(go_on.wait());
    through = true;
    ended.open();
    return std::vector<jobs::BackupOutcome>();
  };
  ControlApi api(operations_, "1");
  api.handle("POST", "/v1/backup", "{}",
             [](std::string_view) { throw base::IoError("Broken pipe", 32); }, {});
  EXPECT_FALSE(through.load());
  go_on.open();
  EXPECT_TRUE(ended.wait());
}

TEST_F(ControlApiTest, ACheckEndsWhenItsClientHangsUp) {
  Gate begun, ended;
  operations_.on_check = [&](const auto&, std::stop_token stop) -> upkeep::CheckReport {
    begun.open();
    Gate never;
    never.wait(stop);
    ended.open();
    throw base::Cancelled();
  };
  ControlApi api(operations_, "1");
  std::stop_source client;
  std::jthread request([&] {
    api.handle(
        "POST", "/v1/check", "{}", [](std::string_view) {}, client.get_token());
  });
  ASSERT_TRUE(begun.wait());
  client.request_stop();
  EXPECT_TRUE(ended.wait());
}

TEST_F(ControlApiTest, ItsEndStopsWhatGoesOnWithoutAClient) {
  Gate begun;
  std::atomic<bool> stopped{false};
  operations_.on_backup = [&](const auto&, const auto&,
                              std::stop_token stop) -> std::vector<jobs::BackupOutcome> {
    begun.open();
    Gate never;
    never.wait(stop);
    stopped = stop.stop_requested();
    throw base::Cancelled();
  };
  {
    ControlApi api(operations_, "1");
    std::stop_source client;
    std::jthread request([&] {
      api.handle(
          "POST", "/v1/backup", "{}", [](std::string_view) {}, client.get_token());
    });
    ASSERT_TRUE(begun.wait());
    client.request_stop();
  }
  EXPECT_TRUE(stopped.load());
}

TEST_F(ControlApiTest, RefusesWorkOnceItIsStopping) {
  api_.stop();
  const auto messages = ask("backup");
  EXPECT_EQ(messages.at(0)["message"], "the daemon is stopping");
  EXPECT_EQ(exit_code(messages), 1);
}

TEST_F(ControlApiTest, ASlowClientDoesNotHoldUpTheWork) {
  Gate work_done;
  operations_.on_backup = [&](const auto&, const jobs::Emit& emit, std::stop_token) {
    jobs::ProgressEvent event;
    event.volume = "db";
    for (event.bytes_done = 1; event.bytes_done <= 10'000; ++event.bytes_done) emit(event);
    work_done.open();
    return std::vector<jobs::BackupOutcome>();
  };
  std::string text;
  api_.handle("POST", "/v1/backup", "{}",
              [&](std::string_view lines) {
                EXPECT_TRUE(work_done.wait());  // stuck until the work is through
                text += lines;
              },
              {});
  const auto messages = parse(text);
  EXPECT_LE(messages.size(), 4u);  // status of the first, status of the last, exit
  EXPECT_EQ(messages.at(messages.size() - 2)["bytes_done"], 10'000);
  EXPECT_EQ(exit_code(messages), 0);
}

TEST_F(ControlApiTest, TakesStatusFromAnyThread) {
  operations_.on_backup = [&](const auto&, const jobs::Emit& emit, std::stop_token) {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 4; ++i)
      threads.emplace_back([&emit, i] {
        jobs::ProgressEvent event;
        event.volume = "v" + std::to_string(i);
        for (int n = 0; n < 1000; ++n) emit(event);
      });
    return std::vector<jobs::BackupOutcome>();
  };
  EXPECT_EQ(exit_code(ask("backup")), 0);
}

TEST_F(ControlApiTest, ShowsWhatForgetKeepsAndWhy) {
  operations_.on_forget = [](const jobs::ForgetRequest& request) {
    EXPECT_FALSE(request.policy);
    jobs::ForgetGroup group;
    group.volume = "db";
    group.host = "ship";
    group.keep.push_back({snapshot('a', "db"), {"daily snapshot"}});
    group.remove.push_back(snapshot('b', "db"));
    return std::vector{group};
  };
  const auto messages = ask("forget", {{"targets", {"db"}}, {"dry_run", true}});
  ASSERT_EQ(messages.size(), 4u);
  EXPECT_EQ(messages[0]["action"], "keep");
  EXPECT_EQ(messages[0]["reasons"], json({"daily snapshot"}));
  EXPECT_EQ(messages[0]["group"], json({{"volume", "db"}, {"host", "ship"}}));
  EXPECT_EQ(messages[1]["action"], "remove");
  EXPECT_EQ(messages[1]["short_id"], "bbbbbbbb");
  EXPECT_EQ(messages[2],
            json::parse(R"({"message_type":"summary","dry_run":true,"kept":1,"removed":1})"));
  EXPECT_THAT(operations_.asked(), ElementsAre("forget db (dry run)"));
}

TEST_F(ControlApiTest, FailsWhenCheckFoundErrorsAndShowsThem) {
  operations_.on_check = [](const auto&, auto) {
    upkeep::CheckReport report;
    report.errors = {"pack 12 is missing"};
    report.hints = {"pack 13 is not needed"};
    return report;
  };
  const auto messages = ask("check", {{"read_data", true}});
  EXPECT_EQ(messages.at(0),
            json::parse(R"({"message_type":"hint","message":"pack 13 is not needed"})"));
  EXPECT_EQ(messages.at(1),
            json::parse(R"({"message_type":"problem","message":"pack 12 is missing"})"));
  EXPECT_EQ(messages.at(2)["ok"], false);
  EXPECT_EQ(exit_code(messages), 1);
  EXPECT_THAT(operations_.asked(), ElementsAre("check all data"));
}

TEST_F(ControlApiTest, SaysWhatACheckPutRightAndIsContent) {
  operations_.on_check = [](const auto&, auto) {
    upkeep::CheckReport report;
    report.repaired = {"data/12: is whole again"};
    report.damaged_packs = {};
    return report;
  };
  const auto messages = ask("check", {{"subset", "1/7"}});
  EXPECT_EQ(messages.at(0),
            json::parse(R"({"message_type":"repaired","message":"data/12: is whole again"})"));
  EXPECT_EQ(messages.at(1)["num_repaired"], 1);
  EXPECT_EQ(messages.at(1)["ok"], true);
  EXPECT_EQ(exit_code(messages), 0);
  EXPECT_THAT(operations_.asked(), ElementsAre("check 1/7"));
}

TEST_F(ControlApiTest, TellsAllThatARepairDidAndWhatIsLost) {
  auto& report = operations_.repaired;
  report.actions = {"pack 12: is missing"};
  report.lost = {{id_of('a'), "/volumes/db/\xff", "lost 1 of 2 bytes"}};
  report.snapshots = {{.snapshot = id_of('a'), .sibling = id_of('b'), .forgotten = true}};
  report.blobs_lost = 3;
  const auto messages = ask("repair", {{"forget", true}, {"dry_run", true}});
  ASSERT_EQ(messages.size(), 5u);
  EXPECT_EQ(messages[0], json::parse(R"({"message_type":"action","message":"pack 12: is missing"})"));
  EXPECT_EQ(messages[1]["snapshot_id"], id_of('a').hex());
  EXPECT_EQ(messages[1]["path_base64"], base::base64(base::as_bytes("/volumes/db/\xff")));
  EXPECT_EQ(messages[2]["new_snapshot_id"], id_of('b').hex());
  EXPECT_EQ(messages[3]["blobs_lost"], 3);
  EXPECT_EQ(messages[3]["dry_run"], true);
  EXPECT_EQ(exit_code(messages), 3) << "something is lost";
  EXPECT_THAT(operations_.asked(), ElementsAre("repair forget (dry run)"));
}

TEST_F(ControlApiTest, TellsOfDamageAndOfTheScrub) {
  jobs::Status& status = operations_.current_status;
  EXPECT_FALSE(ask("status").at(0).contains("scrub")) << "it is off";
  status.scrub.period = std::chrono::days(30);
  status.scrub.coverage = {.packs = 4, .covered = 3, .never = 1, .oldest = base::parse_rfc3339("2026-11-21T18:00:00Z")};
  status.damage.emplace();
  status.damage->by = "scrub";
  status.damage->errors = 2;
  status.damage->snapshots = {id_of('c')};
  jobs::VolumeStatus volume;
  volume.damaged = {id_of('c').hex()};
  status.volumes = {volume};
  const auto messages = ask("status");
  EXPECT_EQ(messages.at(0)["scrub"]["covered"], 0.75);
  EXPECT_EQ(messages.at(0)["scrub"]["oldest"], "2026-11-21T18:00:00Z");
  EXPECT_EQ(messages.at(0)["damage"]["errors"], 2);
  EXPECT_THAT(messages.at(0)["damage"]["snapshots"], ElementsAre(id_of('c').hex()));
  EXPECT_THAT(messages.at(1)["damaged_snapshots"], ElementsAre(id_of('c').hex()));
}

TEST_F(ControlApiTest, PassesKeysLocksAndSettingsOn) {
  operations_.keys = {{"k1", "root", "ship", "2026-11-21T18:00:00Z", true}};
  operations_.setting_list = {{"schedule", "@daily", "file", "when"}};
  EXPECT_EQ(ask("key-list").at(0)["current"], true);
  EXPECT_EQ(ask("key-add", {{"new_password", "p"}}).at(0)["id"], "0123456789abcdef");
  EXPECT_EQ(exit_code(ask("key-add", {{"new_password", ""}})), 1);
  EXPECT_EQ(exit_code(ask("key-remove", {{"id", "k1"}})), 0);
  EXPECT_EQ(exit_code(ask("key-passwd", {{"new_password", "q"}})), 0);
  EXPECT_EQ(ask("key-export").at(0)["password"], "correct horse");
  EXPECT_EQ(ask("unlock", {{"all", true}}).at(0)["removed"], 2);
  EXPECT_EQ(ask("settings").at(0)["origin"], "file");
  EXPECT_EQ(exit_code(ask("set-setting", {{"key", "schedule"}, {"value", "@hourly"}})), 0);
  EXPECT_EQ(exit_code(ask("set-setting", {{"key", "schedule"}, {"value", nullptr}})), 0);
  EXPECT_EQ(exit_code(ask("set-setting", {{"key", "tag"}, {"value", ""}})), 0);
  EXPECT_EQ(
      exit_code(ask("set-volume-option", {{"volume", "db"}, {"key", "keep-last"}, {"value", "3"}})),
      0);
  EXPECT_EQ(exit_code(ask("init")), 0);
  EXPECT_THAT(operations_.asked(),
              ElementsAre("key list", "key add p", "key remove k1", "key passwd q", "key export",
                          "unlock all", "locks", "settings", "set schedule=@hourly",
                          "unset schedule", "set tag=", "set keep-last=3 of db", "init"));
}

TEST_F(ControlApiTest, ShowsMirrorsAndBringsThemUpToDate) {
  jobs::MirrorStatus mirror;
  mirror.place = "s3:host/bucket";
  mirror.state = "in sync";
  mirror.in_sync = base::parse_rfc3339("2026-11-21T18:00:00Z");
  operations_.current_status.mirrors = {mirror};
  operations_.current_status.repairs = {"repaired data/1 of /a from /b"};
  EXPECT_EQ(ask("mirrors").at(0)["mirror"], "s3:host/bucket");
  EXPECT_EQ(exit_code(ask("mirrors-sync")), 0);
  operations_.current_status.mirrors[0].state = "away";
  operations_.current_status.mirrors[0].away_since = base::parse_rfc3339("2026-11-21T19:00:00Z");
  operations_.current_status.mirrors[0].behind_files = 3;
  const auto behind = ask("mirrors-sync");
  EXPECT_EQ(exit_code(behind), 1);
  EXPECT_EQ(behind.at(0)["away_since"], "2026-11-21T19:00:00Z");
  EXPECT_EQ(behind.at(0)["behind_files"], 3);
  EXPECT_EQ(exit_code(ask("mirrors-accept", {{"mirror", "/m"}})), 0);
  EXPECT_EQ(exit_code(ask("mirrors-accept")), 1);
  const auto status = ask("status");
  EXPECT_EQ(status.at(0)["repairs"][0], "repaired data/1 of /a from /b");
  EXPECT_EQ(status.at(1)["message_type"], "mirror");
  EXPECT_THAT(operations_.asked(), ElementsAre("mirrors", "mirrors sync", "mirrors sync",
                                               "mirrors accept /m", "status"));
}

TEST_F(ControlApiTest, ShowsTheDaemonAndItsVolumes) {
  operations_.current_status.version = "1.2.3";
  operations_.current_status.repository_state = "ok";
  jobs::VolumeStatus volume;
  volume.volume.name = "db";
  volume.volume.state = volumes::State::ready;
  volume.volume.last_backup.succeeded = base::parse_rfc3339("2026-11-21T18:00:00Z");
  volume.volume.last_backup.bytes = 9;
  volume.running.emplace().phase = "saving";
  volume.images = {{.reference = "davit/web:1", .container = "web", .state = "loading", .fraction = 0.5, .error = ""},
                   {.reference = "davit/app:1", .container = "app", .state = "failed", .fraction = {}, .error = "no space"}};
  volume.tracking = "followed what changed";
  operations_.current_status.volumes = {volume};
  volume.images.clear();
  volume.volume.name = "old";
  volume.volume.state = volumes::State::removed;
  operations_.current_status.removed = {volume};
  jobs::ContainerStatus container;
  container.name = "web";
  container.state = "running";
  container.image = "nginx:1";
  container.volumes = {"db"};
  container.last.succeeded = volume.volume.last_backup.succeeded;
  container.last.error = "the engine is away";
  container.problem = "label davit.schedule: bad";
  container.snapshots = 2;
  operations_.current_status.containers = {container};
  operations_.current_status.engine_error = "no engine";
  const auto messages = ask("status");
  ASSERT_EQ(messages.size(), 5u);
  EXPECT_EQ(messages[0]["engine_error"], "no engine");
  EXPECT_EQ(messages[1]["tracking"], "followed what changed");
  EXPECT_EQ(messages[3]["message_type"], "container");
  EXPECT_EQ(messages[3]["name"], "web");
  EXPECT_EQ(messages[3]["image"], "nginx:1");
  EXPECT_EQ(messages[3]["volumes"], json::array({"db"}));
  EXPECT_EQ(messages[3]["error"], "label davit.schedule: bad");
  EXPECT_EQ(messages[3]["last_backup"]["error"], "the engine is away");
  EXPECT_EQ(messages[3]["snapshots"], 2);
  EXPECT_EQ(messages[0]["message_type"], "daemon");
  EXPECT_EQ(messages[1]["name"], "db");
  EXPECT_EQ(messages[1]["state"], "ready");
  EXPECT_EQ(messages[1]["last_backup"]["bytes"], 9);
  EXPECT_EQ(messages[1]["last_backup"]["succeeded"], "2026-11-21T18:00:00Z");
  EXPECT_EQ(messages[1]["running"]["phase"], "saving");
  EXPECT_EQ(messages[1]["images"],
            json::parse(R"([{"image":"davit/web:1","container":"web","state":"loading","percent_done":0.5},
                            {"image":"davit/app:1","container":"app","state":"failed","error":"no space"}])"));
  EXPECT_FALSE(messages[2].contains("images"));
  EXPECT_EQ(messages[2]["message_type"], "removed_volume");
}

}  // namespace
}  // namespace davit::control
