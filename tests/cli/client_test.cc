// The real client against the real control API: what it asks, what it shows, how it ends.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <csignal>
#include <nlohmann/json.hpp>

#include "cli/daemons.h"
#include "support/skip.h"

namespace davit::cli {
namespace {

using test::ClientProcess;
using test::Gate;
using test::Ran;
using test::TestDaemon;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

base::Id id_of(char digit) {
  return *base::Id::parse(std::string(64, digit));
}

jobs::SnapshotInfo snapshot(char digit, const std::string& volume, const std::string& time) {
  jobs::SnapshotInfo info;
  info.id = id_of(digit);
  info.snapshot.time.time = base::parse_rfc3339(time);
  info.snapshot.paths = {"/volumes/" + volume};
  info.snapshot.hostname = "ship";
  info.volume = volume;
  return info;
}

class ClientTest : public testing::Test {
 protected:
  Ran run(const std::vector<std::string>& arguments) { return daemon_.run(arguments); }
  TestDaemon daemon_;
  test::FakeOperations& operations_ = daemon_.operations;
};

TEST_F(ClientTest, ShowsOneLineAVolumeAfterABackup) {
  operations_.on_backup = [&](const auto&, const auto&, auto) {
    std::vector<jobs::BackupOutcome> outcomes(3);
    outcomes[0].volume = "pgdata";
    outcomes[0].snapshot = id_of('a').hex();
    outcomes[0].consistency = "live";
    outcomes[0].seconds = 2.13;
    outcomes[0].summary.files_new = 12;
    outcomes[0].summary.files_changed = 3;
    outcomes[0].summary.total_files_processed = 4015;
    outcomes[0].summary.data_added = 12'900'000;
    outcomes[0].summary.total_bytes_processed = 1'300'000'000;
    outcomes[1].volume = "shop";
    outcomes[1].outcome = jobs::Outcome::failed;
    outcomes[1].error = "the volume is being restored";
    outcomes[2].volume = "web";
    outcomes[2].outcome = jobs::Outcome::partial;
    outcomes[2].snapshot = id_of('b').hex();
    outcomes[2].consistency = "live";
    outcomes[2].seconds = 75;
    outcomes[2].unreadable = 1;
    outcomes[2].problems = {"data/x: Permission denied"};
    outcomes[2].summary.total_files_processed = 1;
    return outcomes;
  };
  const Ran ran = run({"backup", "pgdata", "shop", "web"});
  EXPECT_EQ(ran.out,
            "pgdata  saved    aaaaaaaa  12 new, 3 changed of 4,015 files  12.3 MiB added of 1.2 "
            "GiB       2.1 s  live\n"
            "shop    failed\n"
            "web     partial  bbbbbbbb  0 new, 0 changed of 1 file        0 B added of 0 B         "
            "  1 min 15 s  "
            "live, 1 unreadable\n");
  EXPECT_EQ(ran.err,
            "davit: shop: the volume is being restored\n"
            "davit: web: data/x: Permission denied\n");
  EXPECT_EQ(ran.exit_code, 1);
  EXPECT_THAT(operations_.asked(), ElementsAre("backup pgdata shop web"));
}

TEST_F(ClientTest, BacksUpContainersByName) {
  operations_.on_backup = [&](const auto&, const auto&, auto) {
    std::vector<jobs::BackupOutcome> outcomes(1);
    outcomes[0].container = "web";
    outcomes[0].snapshot = id_of('a').hex();
    outcomes[0].consistency = "paused";
    outcomes[0].seconds = 2;
    return outcomes;
  };
  const Ran ran = run({"backup", "pgdata", "--container", "web", "-c", "db"});
  EXPECT_THAT(ran.out, testing::StartsWith("container web  saved  aaaaaaaa"));
  EXPECT_EQ(ran.exit_code, 0);
  EXPECT_THAT(operations_.asked(), ElementsAre("backup pgdata container=web container=db"));
}

TEST_F(ClientTest, IsSilentWhenQuietButForErrors) {
  operations_.on_backup = [&](const auto&, const auto&, auto) {
    std::vector<jobs::BackupOutcome> outcomes(2);
    outcomes[0].volume = "a";
    outcomes[1].volume = "b";
    outcomes[1].outcome = jobs::Outcome::failed;
    outcomes[1].error = "no space left";
    return outcomes;
  };
  const Ran ran = run({"-q", "backup"});
  EXPECT_EQ(ran.out, "");
  EXPECT_EQ(ran.err, "davit: b: no space left\n");
  EXPECT_EQ(ran.exit_code, 1);
}

TEST_F(ClientTest, ExitsWithResticsCodes) {
  const auto exit_code = [&](const std::function<void()>& fail) {
    operations_.before_any = fail;  // makes its exception in the daemon's thread
    const Ran ran = run({"prune"});
    EXPECT_THAT(ran.err, testing::StartsWith("davit: "));
    return ran.exit_code;
  };
  EXPECT_EQ(exit_code([] { throw base::NoRepository("x"); }), 10);
  EXPECT_EQ(exit_code([] { throw base::Locked("x"); }), 11);
  EXPECT_EQ(exit_code([] { throw base::WrongPassword("x"); }), 12);
  EXPECT_EQ(exit_code([] { throw base::NotFound("x"); }), 1);
  EXPECT_EQ(exit_code([] { throw base::Cancelled(); }), 130);
  operations_.before_any = [] {};
  EXPECT_EQ(run({"prune"}).exit_code, 0);
}

TEST_F(ClientTest, PassesTheDaemonsLinesOnAsJson) {
  operations_.on_check = [](const jobs::Emit& emit, auto) {
    jobs::ProgressEvent event;
    event.phase = "checking";
    emit(event);
    upkeep::CheckReport report;
    report.errors = {"pack 12 is missing"};
    return report;
  };
  const auto types = [](const std::string& out) {
    std::string types;
    for (size_t at = 0; at < out.size();) {
      const size_t end = out.find('\n', at);
      types +=
          nlohmann::json::parse(out.substr(at, end - at))["message_type"].get<std::string>() + " ";
      at = end + 1;
    }
    return types;
  };
  const Ran ran = run({"check", "--json"});
  EXPECT_EQ(types(ran.out), "status problem summary exit ");
  EXPECT_EQ(ran.exit_code, 1);
  EXPECT_EQ(types(run({"check", "--json", "--quiet"}).out), "problem summary exit ");
}

TEST_F(ClientTest, SaysWhatToDoWhenNobodyListens) {
  ClientProcess::Options options;
  options.environment["DAVIT_DATA"] = "/nowhere";
  const Ran ran = ClientProcess({"status"}, options).finish();
  EXPECT_EQ(ran.exit_code, 1);
  EXPECT_THAT(
      ran.err,
      HasSubstr("davit: no daemon answers:\n  /nowhere/davit.sock: No such file or directory\n"));
  EXPECT_THAT(ran.err, HasSubstr("systemctl status davit"));
  EXPECT_THAT(ran.err, HasSubstr("--socket"));

  const Ran json = ClientProcess({"status", "--json"}, options).finish();
  EXPECT_THAT(json.out, HasSubstr(R"({"message_type":"error","message":"no daemon answers)"));
  EXPECT_THAT(json.out, HasSubstr(R"({"message_type":"exit","exit_code":1})"));
}

TEST_F(ClientTest, FindsTheDaemonByOptionAndEnvironment) {
  ClientProcess::Options options;
  options.environment["DAVIT_SOCKET"] = "/nowhere/davit.sock";
  EXPECT_EQ(ClientProcess({"status", "--socket", daemon_.socket()}, options).finish().exit_code, 0);
  options.environment = {{"DAVIT_DATA", daemon_.directory()}};
  EXPECT_EQ(ClientProcess({"status"}, options).finish().exit_code, 0);
}

TEST_F(ClientTest, FindsTheDaemonBesideItself) {
  // DATA/bin/davit speaks to DATA/davit.sock, through any link to it.
  const std::string data = daemon_.directory();
  base::make_directories(data + "/bin");
  base::write_file_atomic(data + "/bin/davit", base::get_file(DAVIT_CLIENT, size_t{1} << 30), 0755);
  ASSERT_EQ(::symlink((data + "/bin/davit").c_str(), (data + "/docker-davit").c_str()), 0);
  ClientProcess::Options options;
  options.program = data + "/docker-davit";
  options.name = options.program;
  const Ran ran = ClientProcess({"davit", "version"}, options).finish();
  EXPECT_EQ(ran.out, "client  " DAVIT_VERSION "\ndaemon  1.2.3\n") << ran.err;
}

TEST_F(ClientTest, FindsTheDaemonOfARootlessEngine) {
  // Where no daemon of the machine's answers, the user's own does.
  if (::access("/var/lib/davit/davit.sock", F_OK) == 0)
    DAVIT_SKIP("this machine has a daemon of its own");
  const test::TempDir home;
  base::make_directories(home / "data/davit");
  ASSERT_EQ(::symlink(daemon_.socket().c_str(), (home / "data/davit/davit.sock").c_str()), 0);
  ClientProcess::Options options;
  options.environment["XDG_DATA_HOME"] = home / "data";
  EXPECT_EQ(ClientProcess({"status"}, options).finish().exit_code, 0);
}

TEST_F(ClientTest, ShowsVersionsAlsoWithoutADaemon) {
  EXPECT_EQ(run({"version"}).out, "client  " DAVIT_VERSION "\ndaemon  1.2.3\n");
  EXPECT_EQ(run({"version", "--json"}).out,
            "{\"message_type\":\"version\",\"client\":\"" DAVIT_VERSION
            "\",\"daemon\":\"1.2.3\"}\n"
            "{\"message_type\":\"exit\",\"exit_code\":0}\n");
  const Ran ran = run({"version", "--socket", "/nowhere"});
  EXPECT_EQ(ran.out, "client  " DAVIT_VERSION "\ndaemon  does not answer\n");
  EXPECT_EQ(ran.exit_code, 0);
}

TEST_F(ClientTest, ListsSnapshotsInATableOfLocalTimes) {
  auto first = snapshot('a', "pgdata", "2026-11-21T18:00:00Z");
  first.snapshot.summary.emplace();
  first.snapshot.summary->total_files_processed = 4015;
  first.snapshot.summary->total_bytes_processed = 1'300'000'000;
  first.snapshot.summary->data_added = 5;
  auto second = snapshot('b', "web", "2026-11-21T23:30:00Z");
  second.partial = true;
  auto third = snapshot('c', "", "2026-11-22T01:00:00Z");
  third.snapshot.paths = {"/home", "/etc"};
  operations_.snapshot_list = {first, second, third};
  EXPECT_EQ(run({"snapshots"}).out,
            "ID        TIME                 VOLUME       HOST  FILES     SIZE  ADDED  NOTE\n"
            "aaaaaaaa  2026-11-21 20:00:00  pgdata       ship  4,015  1.2 GiB    5 B\n"
            "bbbbbbbb  2026-11-22 01:30:00  web          ship                         partial\n"
            "cccccccc  2026-11-22 03:00:00  /home, /etc  ship\n"
            "3 snapshots\n");
  run({"snapshots", "web", "--host", "other"});
  EXPECT_THAT(operations_.asked(), ElementsAre("snapshots '' ''", "snapshots 'web' 'other'"));
  operations_.snapshot_list.clear();
  EXPECT_EQ(run({"snapshots"}).out, "no snapshots\n");
}

TEST_F(ClientTest, ListsContainersAndPointsBesideVolumes) {
  const std::string point(16, 'f');
  auto volume = snapshot('a', "pgdata", "2026-11-21T18:00:00Z");
  auto container = snapshot('b', "", "2026-11-21T18:00:00Z");
  container.container = "shop_db";
  container.snapshot.paths = {"/containers/shop_db"};
  volume.point = container.point = point;
  volume.partial = true;
  const auto alone = snapshot('c', "web", "2026-11-21T19:00:00Z");
  operations_.snapshot_list = {volume, container, alone};
  EXPECT_EQ(run({"snapshots"}).out,
            "ID        TIME                 VOLUME  CONTAINER  POINT     HOST  NOTE\n"
            "aaaaaaaa  2026-11-21 20:00:00  pgdata             ffffffff  ship  partial\n"
            "bbbbbbbb  2026-11-21 20:00:00          shop_db    ffffffff  ship\n"
            "cccccccc  2026-11-21 21:00:00  web                          ship\n"
            "3 snapshots\n");
  EXPECT_EQ(run({"snapshots", "--container", "shop_db"}).out,
            "ID        TIME                 CONTAINER  POINT     HOST\n"
            "bbbbbbbb  2026-11-21 20:00:00  shop_db    ffffffff  ship\n"
            "1 snapshot\n");
  EXPECT_NE(run({"snapshots", "pgdata", "--container", "shop_db"}).exit_code, 0);
  const std::string points =
      "POINT     TIME                 HOST  VOLUMES  CONTAINERS  NOTE\n"
      "ffffffff  2026-11-21 20:00:00  ship  pgdata*  shop_db     * partial\n"
      "1 point\n";
  EXPECT_EQ(run({"points"}).out, points);
  EXPECT_EQ(run({"points", "shop_db"}).out, points);
  EXPECT_EQ(run({"points", "pgdata", "--host", "ship"}).out, points);
  EXPECT_EQ(run({"points", "web"}).out, "no points\n");
  const std::string json = run({"points", "--json"}).out;
  EXPECT_THAT(json, HasSubstr("\"id\":\"" + point + "\""));
  EXPECT_THAT(json, HasSubstr("\"container\":\"shop_db\""));
}

TEST_F(ClientTest, ListsFilesShortAndLong) {
  operations_.on_list_files = [](const auto& each) {
    jobs::ListedNode node;
    node.path = "base";
    node.type = "dir";
    node.mode = 040000 | 01777;
    node.uid = 999;
    node.gid = 998;
    node.mtime = base::parse_rfc3339("2026-11-21T18:00:00Z");
    each(node);
    node.path = "base/PG_VERSION";
    node.type = "file";
    node.mode = 0100000 | 04640;
    node.size_bytes = 1536;
    each(node);
    node.path = "link";
    node.type = "symlink";
    node.mode = 0120000 | 0777;
    node.linktarget = "base";
    each(node);
  };
  EXPECT_EQ(run({"ls", "db"}).out, "base\nbase/PG_VERSION\nlink\n");
  EXPECT_EQ(run({"ls", "-l", "-R", "db", "x"}).out,
            "drwxrwxrwt     999:998             2026-11-21 20:00:00  base\n"
            "-rwSr-----     999:998    1.5 KiB  2026-11-21 20:00:00  base/PG_VERSION\n"
            "lrwxrwxrwx     999:998             2026-11-21 20:00:00  link -> base\n");
  EXPECT_THAT(operations_.asked(), ElementsAre("ls db ''", "ls db 'x' recursive"));
}

TEST_F(ClientTest, ShowsTheStatusAndWhatNeedsAttention) {
  const base::Time now = base::SystemClock().now();
  using std::chrono::minutes;
  jobs::Status& status = operations_.current_status;
  status.version = "1.2.3";
  status.host = "ship";
  status.repository = "/var/lib/davit/repository";
  status.repository_state = "ok";
  status.password_generated = true;
  status.last_prune = now - minutes(125);
  jobs::VolumeStatus volume;
  volume.volume.name = "pgdata";
  volume.volume.state = volumes::State::ready;
  volume.volume.last_backup.succeeded = now - minutes(61);
  volume.volume.last_backup.bytes = 1'300'000'000;
  volume.volume.last_backup.consistency = "live";
  volume.schedule = "@hourly";
  volume.snapshots = 24;
  status.volumes.push_back(volume);
  volume.images = {{.reference = "davit/db:1", .container = "db", .state = "loading", .fraction = 0.43, .error = ""},
                   {.reference = "davit/web:1", .container = "web", .state = "failed", .fraction = {}, .error = "no space"}};
  volume.volume.name = "shop";
  volume.volume.state = volumes::State::restoring;
  volume.volume.last_backup = {};
  volume.running.emplace().phase = "restoring";
  volume.running->fraction = 0.43;
  volume.running->seconds_left = 72;
  volume.snapshots = 0;
  status.volumes.push_back(volume);
  volume.images.pop_back();
  volume.volume.images_owed = true;
  volume.volume.name = "web";
  volume.volume.state = volumes::State::ready;
  volume.volume.last_backup.attempted = now - minutes(5);
  volume.volume.last_backup.error = "the repository cannot be reached";
  volume.running.reset();
  status.volumes.push_back(volume);
  volume.images.clear();
  volume.volume.images_owed = false;
  volume.volume.name = "old";
  volume.volume.state = volumes::State::removed;
  volume.volume.removed_at = now - minutes(3);
  status.removed.push_back(volume);
  jobs::ContainerStatus container;
  container.name = "db";
  container.state = "running";
  container.image = "postgres:17";
  container.volumes = {"pgdata", "wal"};
  container.last.succeeded = now - minutes(61);
  container.last.bytes = 400'000'000;
  container.snapshots = 3;
  status.containers.push_back(container);
  container = {};
  container.name = "cron";
  container.state = "exited";
  container.image = "tool";
  container.schedule = "@daily";
  container.problem = "label davit.keep-last: bad";
  container.last.error = "the engine is away";
  status.containers.push_back(container);
  status.engine_error = "nobody answers";
  const Ran ran = run({"status"});
  EXPECT_EQ(ran.out,
            "davit 1.2.3 on ship\n"
            "repository /var/lib/davit/repository: ok\n"
            "pruned 2 h ago\n"
            "\n"
            "VOLUME  STATE                     LAST BACKUP  NEXT  SNAPSHOTS     SIZE  CONSISTENCY  "
            "SCHEDULE\n"
            "pgdata  ready                     1 h ago      -            24  1.2 GiB  live         "
            "@hourly\n"
            "shop    restoring 43%, 1:12 left  never        -             0                        "
            "@hourly\n"
            "web     ready                     never        -             0                        "
            "@hourly\n"
            "\n"
            "CONTAINER  STATE    IMAGE        LAST COMMIT  NEXT  SNAPSHOTS       SIZE  SCHEDULE\n"
            "db         running  postgres:17  1 h ago      -             3  381.5 MiB  with pgdata, "
            "wal\n"
            "cron       exited   tool         never        -             0             @daily\n"
            "\n"
            "IMAGE        OF   CAME WITH  STATE\n"
            "davit/db:1   db   shop, web  loading 43%\n"
            "davit/web:1  web  shop       failed\n"
            "                  web        to be looked up\n"
            "\n"
            "removed; their last backup is still to be stored:\n"
            "  old  removed 3 min ago  the repository cannot be reached\n"
            "\n"
            "! containers are not saved: nobody answers\n"
            "! the repository's password was made here and exists nowhere else; keep a copy: davit "
            "key export\n"
            "! shop: the image davit/web:1 could not be loaded: no space\n"
            "! web: the last backup (5 min ago) failed: the repository cannot be reached\n"
            "! container cron: label davit.keep-last: bad\n"
            "! container cron: the last backup failed: the engine is away\n");
  EXPECT_EQ(ran.exit_code, 0);
}

TEST_F(ClientTest, RestoresWithTheGivenTargetAndOptions) {
  operations_.on_restore = [](const jobs::RestoreRequest& request, const auto&, auto) {
    jobs::RestoreOutcome outcome;
    outcome.volume = request.target;
    outcome.snapshot = id_of('a').hex();
    outcome.files = 1;
    outcome.bytes = 2048;
    outcome.seconds = 0.5;
    if (request.in_place) outcome.safety_snapshot = id_of('b').hex();
    return outcome;
  };
  EXPECT_EQ(
      run({"restore", "db@latest", "--as", "new", "-o", "schedule=@daily", "-o", "exclude=a=b"})
          .out,
      "new  restored  from aaaaaaaa  1 file, 2.0 KiB  0.5 s\n");
  EXPECT_EQ(run({"restore", "--in-place", "db"}).out,
            "db  restored  from aaaaaaaa  1 file, 2.0 KiB  0.5 s\n"
            "What was there before is kept as snapshot bbbbbbbb.\n");
  EXPECT_THAT(operations_.asked(),
              ElementsAre("restore db@latest to new exclude=a=b schedule=@daily",
                          "restore db to db in place"));
  EXPECT_EQ(run({"restore", "db", "--as", "new", "--in-place"}).exit_code, 1);
  EXPECT_EQ(run({"restore", "db", "-o", "nonsense"}).exit_code, 1);
  EXPECT_EQ(run({"restore"}).exit_code, 1);
  EXPECT_EQ(operations_.asked().size(), 2u);
}

TEST_F(ClientTest, RestoresAContainerAndTellsWhatWasMade) {
  operations_.on_restore_container = [](const jobs::RestoreContainerRequest& request, const auto&, auto) {
    jobs::RestoreContainerOutcome outcome;
    outcome.container = "web";
    outcome.snapshot = id_of('a').hex();
    outcome.time = base::parse_rfc3339("2026-11-22T18:00:00Z");
    outcome.image = "davit/web:20261122T180000Z";
    outcome.image_loaded = true;
    outcome.networks = {"shop"};
    outcome.volumes = {{"data", "data", "restored", id_of('b').hex(), ""},
                       {"", std::string(64, 'f'), "new", "", ""}};
    outcome.notes = {"the link to db"};
    outcome.dry_run = request.dry_run;
    outcome.started = request.start;
    outcome.seconds = 2;
    if (request.as == "bad") outcome.start_error = "it ended at once, with exit code 1";
    return outcome;
  };
  const Ran ran = run({"restore", "--container", "web@2026-11-22", "--start", "--volumes", "keep"});
  EXPECT_EQ(ran.exit_code, 0);
  EXPECT_THAT(ran.out, StartsWith("web  restored  from aaaaaaaa of 2026-11-22 "));
  EXPECT_THAT(ran.out, HasSubstr("  image    davit/web:20261122T180000Z\n  network  shop  made\n"
                                 "  volume   data  restored  from bbbbbbbb\n"
                                 "  volume   (without a name)  new\n  note     the link to db\nIt runs.\n"));
  EXPECT_THAT(run({"restore", "--container", "web", "-n"}).out, StartsWith("web  would be restored  from"));
  const Ran bad = run({"restore", "--container", "web", "--as", "bad", "--start", "--no-publish"});
  EXPECT_EQ(bad.exit_code, 1);
  EXPECT_THAT(bad.err, HasSubstr("is made, but does not run: it ended at once, with exit code 1"));
  EXPECT_THAT(operations_.asked(), ElementsAre("restore container web@2026-11-22 as '' keep start",
                                               "restore container web as '' dry",
                                               "restore container web as 'bad' unpublished start"));
}

TEST_F(ClientTest, ListsWhatStandsInTheWayOfAContainer) {
  operations_.on_restore_container = [](const auto&, const auto&, auto) {
    jobs::RestoreContainerOutcome outcome;
    outcome.container = "web";
    outcome.conflicts = {"there is a container web already", "port 80/tcp is in use"};
    return outcome;
  };
  const Ran ran = run({"restore", "--container", "web"});
  EXPECT_EQ(ran.exit_code, 1);
  EXPECT_EQ(ran.out, "");
  EXPECT_EQ(ran.err, "davit: there is a container web already\ndavit: port 80/tcp is in use\ndavit: nothing was made\n");
  operations_.on_restore_container = [](const auto&, const auto&, auto) -> jobs::RestoreContainerOutcome {
    throw base::Conflict("another restore is under way");
  };
  EXPECT_EQ(run({"restore", "--container", "web"}).err, "davit: another restore is under way\n");
}

TEST_F(ClientTest, RefusesWordsOfARestoreThatDoNotBelongTogether) {
  for (const std::vector<std::string>& words : std::vector<std::vector<std::string>>{
           {"restore"},
           {"restore", "db", "--container", "web"},
           {"restore", "db", "--start"},
           {"restore", "db", "--volumes", "keep"},
           {"restore", "--container", "web", "--in-place"},
           {"restore", "--container", "web", "-o", "a=b"},
           {"restore", "--container", "web", "--volumes", "none"}})
    EXPECT_EQ(run(words).exit_code, 1);
  EXPECT_THAT(operations_.asked(), testing::IsEmpty());
}

TEST_F(ClientTest, SaysHowToRestoreWhereTheNameIsTaken) {
  operations_.on_restore = [](const auto&, const auto&, auto) -> jobs::RestoreOutcome {
    throw base::Conflict("there is a volume db already");
  };
  EXPECT_EQ(run({"restore", "db"}).err,
            "davit: there is a volume db already; restore beside it with --as NEW, or over it with "
            "--in-place\n");
  EXPECT_EQ(run({"restore", "db", "--as", "x"}).err, "davit: there is a volume db already\n");
}

TEST_F(ClientTest, SendsRetentionRulesAndShowsReasons) {
  std::optional<upkeep::Policy> policy;
  operations_.on_forget = [&](const jobs::ForgetRequest& request) {
    policy = request.policy;
    jobs::ForgetGroup group;
    group.volume = "db";
    group.host = "ship";
    group.keep.push_back(
        {snapshot('a', "db", "2026-11-21T18:00:00Z"), {"last snapshot", "daily snapshot"}});
    group.remove.push_back(snapshot('b', "db", "2026-11-21T17:00:00Z"));
    return std::vector{group};
  };
  const Ran ran = run({"forget", "db", "-n", "--keep-last", "-1", "--keep-daily=7", "--keep-within",
                       "2d", "--keep-tag", "a,b", "--keep-tag", "c"});
  EXPECT_EQ(ran.out,
            "db of ship: 1 stays, 1 would go\n"
            "  keep    aaaaaaaa  2026-11-21 20:00:00  last snapshot, daily snapshot\n"
            "  remove  bbbbbbbb  2026-11-21 19:00:00  db\n")
      << ran.err;
  ASSERT_TRUE(policy);
  EXPECT_EQ(*policy, upkeep::Policy::parse({{"keep-last", "-1"},
                                            {"keep-daily", "7"},
                                            {"keep-within", "2d"},
                                            {"keep-tag", "a,b c"}}));
  EXPECT_EQ(policy->tags, (std::vector<std::string>{"a,b", "c"}));
  EXPECT_EQ(run({"forget"}).out, "db of ship: 1 stays, 1 goes\n");
  EXPECT_FALSE(policy);
  EXPECT_THAT(operations_.asked(), ElementsAre("forget db (dry run)", "forget"));
  EXPECT_EQ(run({"forget", "--keep-last", "many"}).exit_code, 1);
}

TEST_F(ClientTest, PrunesAndChecks) {
  operations_.plan.bytes_freed = 2048;
  operations_.plan.packs_total = 9;
  operations_.plan.packs_deleted = 2;
  EXPECT_THAT(run({"prune", "--dry-run"}).out,
              HasSubstr("would be freed  2.0 KiB  2 packs of 9\n"));
  EXPECT_THAT(run({"prune"}).out, HasSubstr("freed       2.0 KiB  2 packs of 9\n"));
  operations_.on_check = [](const auto&, auto) {
    upkeep::CheckReport report;
    report.snapshots = 1;
    report.hints = {"pack 13 is not needed"};
    return report;
  };
  EXPECT_EQ(run({"check", "--read-data"}).out,
            "no errors in 1 snapshot, 0 trees, 0 blobs, 0 packs; 1 hint (--verbose shows them)\n");
  EXPECT_EQ(
      run({"check", "-v"}).out,
      "hint: pack 13 is not needed\nno errors in 1 snapshot, 0 trees, 0 blobs, 0 packs; 1 hint\n");
  EXPECT_THAT(operations_.asked(),
              ElementsAre("prune (dry run)", "prune", "check all data", "check"));
}

TEST_F(ClientTest, ChecksAPartAndSaysLoudlyWhatWasPutRight) {
  operations_.on_check = [](const auto&, auto) {
    upkeep::CheckReport report;
    report.repaired = {"data/12: was missing or damaged, and is whole again"};
    return report;
  };
  const Ran ran = run({"check", "--quiet", "--read-data-subset", "2.5%"});
  EXPECT_EQ(ran.exit_code, 0);
  EXPECT_EQ(ran.err, "davit: repaired: data/12: was missing or damaged, and is whole again\n");
  EXPECT_THAT(ran.out, HasSubstr("no errors in 0 snapshots"));
  EXPECT_THAT(ran.out, HasSubstr("; 1 file was damaged or missing and put right\n"));
  EXPECT_EQ(run({"check", "--read-data-subset", "1/2", "--read-data"}).exit_code, 1);
  EXPECT_THAT(operations_.asked(), ElementsAre("check 2.5%"));
}

TEST_F(ClientTest, RepairsAndNamesEveryFileThatLostSomething) {
  base::Id first, second;
  first.bytes.fill(0x11);
  second.bytes.fill(0x22);
  auto& report = operations_.repaired;
  EXPECT_EQ(run({"repair", "--dry-run"}).out, "nothing to repair\n");
  report.actions = {"pack 12: is missing, and leaves the index"};
  report.packs_missing = 1;
  report.lost = {{first, "/volumes/db/a\nb\xff", "lost 5 of 10 bytes"}};
  report.snapshots = {{.snapshot = first, .sibling = second, .forgotten = true}};
  Ran ran = run({"repair", "--read-data", "--forget"});
  EXPECT_EQ(ran.exit_code, 3);
  EXPECT_EQ(ran.err,
            "davit: lost: snapshot 11111111, /volumes/db/a\\nb\\xff: lost 5 of 10 bytes\n");
  EXPECT_EQ(ran.out,
            "pack 12: is missing, and leaves the index\n"
            "snapshot 11111111: what is left of it is 22222222; it is removed\n"
            "repaired: 0 damaged packs, 1 missing pack, 0 packs indexed, 0 blobs saved; 1 file lost "
            "something\n");
  report.snapshots = {{.snapshot = first, .sibling = {}, .why = "its root is gone"}};
  report.errors_left = 2;
  ran = run({"repair", "-n"});
  EXPECT_THAT(ran.out, HasSubstr("snapshot 11111111: nothing of it can be had (its root is gone); it "
                                 "stays"));
  EXPECT_THAT(ran.out, HasSubstr("nothing is changed yet: "));
  EXPECT_THAT(ran.err, HasSubstr("davit: 2 errors are left: `davit check` names them\n"));
  EXPECT_THAT(operations_.asked(), ElementsAre("repair (dry run)", "repair all data forget",
                                               "repair (dry run)"));
}

TEST_F(ClientTest, ShowsHowFarTheScrubIsAndWhatIsDamaged) {
  const base::Time now = base::SystemClock().now();
  jobs::Status& status = operations_.current_status;
  status.repository_state = "ok";
  status.scrub.period = std::chrono::days(30);
  EXPECT_THAT(run({"status"}).out, HasSubstr("data not yet read again by a scrub\n"));
  status.scrub.coverage = {.packs = 1000, .covered = 979, .never = 1, .oldest = now - std::chrono::days(28)};
  status.scrub.last_error = "the disk is gone";
  status.damage.emplace();
  status.damage->found = now - std::chrono::hours(2);
  status.damage->by = "scrub";
  status.damage->errors = 2;
  status.damage->messages = {"pack 12: is missing", "more"};
  jobs::VolumeStatus volume;
  volume.volume.name = "pgdata";
  volume.damaged = {"aa", "bb"};
  status.volumes = {volume};
  const Ran ran = run({"status"});
  EXPECT_EQ(ran.exit_code, 0);
  EXPECT_THAT(ran.out, HasSubstr("scrubbed: 97 % read within 30 d, oldest 28 days ago\n"));
  EXPECT_THAT(ran.out, HasSubstr("! the last scrub failed: the disk is gone\n"));
  EXPECT_THAT(ran.out, HasSubstr("! the repository is damaged: the scrub 2 h ago found 2 errors, the "
                                 "first: pack 12: is missing ("));
  EXPECT_THAT(ran.out, HasSubstr("! pgdata: 2 snapshots cannot be restored as saved\n"));
}

TEST_F(ClientTest, PrintsTheMetricsAsTheyAre) {
  operations_.current_status.repository_state = "ok";
  const Ran ran = run({"metrics"});
  EXPECT_EQ(ran.exit_code, 0);
  EXPECT_THAT(ran.out, HasSubstr("# TYPE davit_repository_up gauge\ndavit_repository_up 1\n"));
}

TEST_F(ClientTest, TakesPasswordsFromAFileAndFromStdinOnly) {
  const test::TempDir directory;
  base::write_file_atomic(directory / "password", base::as_bytes(" from file\r\n\n"));
  EXPECT_EQ(run({"key", "add", "--new-password-file", directory / "password"}).out,
            "added the key 0123456789abcdef\n");
  ClientProcess::Options options;
  options.input = "from stdin\r\nmore\n";
  EXPECT_EQ(daemon_.run({"key", "passwd"}, options).out, "the password is changed\n");
  EXPECT_EQ(run({"key", "remove", "01"}).out, "removed the key 01\n");
  EXPECT_EQ(run({"key", "export"}).out, "correct horse\n");
  EXPECT_THAT(operations_.asked(), ElementsAre("key add from file", "key passwd from stdin",
                                               "key remove 01", "key export"));
  EXPECT_EQ(run({"key", "add"}).exit_code, 1);  // empty
  EXPECT_EQ(run({"key", "add", "secret"}).exit_code, 1);
  EXPECT_EQ(run({"key", "add", "--new-password-file", "/nowhere"}).exit_code, 1);
  EXPECT_EQ(operations_.asked().size(), 4u);
}

TEST_F(ClientTest, ListsKeysAndLocks) {
  operations_.keys = {{id_of('a').hex(), "root", "ship", "2026-11-21T18:00:00Z", true},
                      {id_of('b').hex(), "me", "desk", "2026-11-21T19:00:00Z", false}};
  EXPECT_EQ(run({"key", "list"}).out,
            "   ID        USER  HOST  CREATED\n"
            "*  aaaaaaaa  root  ship  2026-11-21 20:00:00\n"
            "   bbbbbbbb  me    desk  2026-11-21 21:00:00\n");
  jobs::LockDetails lock;
  lock.id = id_of('c').hex();
  lock.host = "desk";
  lock.user = "me";
  lock.pid = 77;
  lock.time = base::parse_rfc3339("2026-11-21T19:00:00Z");
  operations_.lock_list = {lock};
  EXPECT_EQ(run({"unlock"}).out,
            "2 locks removed\n"
            "still there:\n"
            "ID        KIND    HOST  USER  PID  SINCE\n"
            "cccccccc  shared  desk  me     77  2026-11-21 21:00:00\n");
  EXPECT_EQ(run({"unlock", "--remove-all", "-q"}).out, "");
  EXPECT_THAT(operations_.asked(),
              ElementsAre("key list", "unlock", "locks", "unlock all", "locks"));
}

TEST_F(ClientTest, ShowsMirrorsAndWhatIsWrongWithThem) {
  EXPECT_EQ(run({"mirrors"}).out, "no mirrors: davit config set DAVIT_MIRRORS URL\n");
  jobs::MirrorStatus good, bad;
  good.place = "/srv/mirror";
  good.append_only = true;
  good.state = "in sync";
  good.in_sync = base::parse_rfc3339("2026-11-21T17:00:00Z");
  bad.place = "s3:host/b";
  bad.state = "away";
  bad.away_since = base::parse_rfc3339("2026-11-21T16:00:00Z");
  bad.behind_files = 2;
  bad.behind_bytes = 3 << 20;
  bad.error = "nobody answers";
  operations_.current_status.mirrors = {good, bad};
  operations_.current_status.repairs = {"2026-11-21T17:00:00Z repaired data/1 of /a from /srv/mirror"};
  const Ran sync = run({"mirrors", "sync", "-v"});
  EXPECT_EQ(sync.exit_code, 1);
  EXPECT_EQ(sync.out,
            "MIRROR       STATE                           IN SYNC              BEHIND            NOTE\n"
            "/srv/mirror  in sync                         2026-11-21 19:00:00                    append-only\n"
            "s3:host/b    away since 2026-11-21 18:00:00  never                2 files, 3.0 MiB\n"
            "! s3:host/b: nobody answers\n");
  EXPECT_EQ(run({"mirrors", "accept", "s3:host/b"}).out, "s3:host/b will be filled anew\n");
  EXPECT_EQ(run({"mirrors", "accept"}).exit_code, 1);
  const Ran status = run({"status"});
  EXPECT_THAT(status.out, HasSubstr("/srv/mirror  in sync"));
  EXPECT_THAT(status.out, HasSubstr("repaired data/1 of /a from /srv/mirror\n"));
  EXPECT_THAT(operations_.asked(),
              ElementsAre("mirrors", "mirrors sync", "mirrors accept s3:host/b", "status"));
}

TEST_F(ClientTest, ShowsAndChangesSettings) {
  operations_.setting_list = {{"schedule", "@daily", "default", "when volumes are saved"},
                              {"RESTIC_PASSWORD", "********", "file", "the password"}};
  jobs::VolumeStatus volume;
  volume.volume.name = "db";
  volume.volume.options = {{"schedule", "@hourly"}, {"keep-last", "3"}};
  operations_.current_status.volumes = {volume};
  EXPECT_EQ(run({"config", "list"}).out,
            "SETTING          VALUE     FROM\n"
            "schedule         @daily    default  when volumes are saved\n"
            "RESTIC_PASSWORD  ********  file     the password\n");
  EXPECT_EQ(run({"config", "get", "schedule"}).out, "@daily\n");
  EXPECT_EQ(run({"config", "get", "nonsense"}).exit_code, 1);
  EXPECT_EQ(run({"config", "list", "--volume", "db"}).out,
            "OPTION     VALUE\n"
            "keep-last  3\n"
            "schedule   @hourly\n");
  EXPECT_EQ(run({"config", "get", "keep-last", "--volume", "db"}).out, "3\n");
  EXPECT_EQ(run({"config", "get", "exclude", "--volume", "db"}).exit_code, 1);
  EXPECT_EQ(run({"config", "list", "--volume", "nonsense"}).exit_code, 1);

  run({"config", "set", "schedule", "@hourly"});
  run({"config", "set", "schedule", ""});
  run({"config", "unset", "schedule"});
  run({"config", "set", "keep-last", "-1", "--volume", "db"});
  run({"config", "unset", "keep-last", "--volume", "db"});
  ClientProcess::Options options;
  options.input = "s3cr3t\n";
  daemon_.run({"config", "set", "RESTIC_PASSWORD"}, options);
  std::vector<std::string> changes;
  for (const auto& line : operations_.asked())
    if (line.find("set ") != std::string::npos) changes.push_back(line);
  EXPECT_THAT(changes, ElementsAre("set schedule=@hourly", "set schedule=", "unset schedule",
                                   "set keep-last=-1 of db", "unset keep-last of db",
                                   "set RESTIC_PASSWORD=s3cr3t"));
}

TEST_F(ClientTest, WaitsAndMakesRepositories) {
  EXPECT_EQ(run({"wait", "db"}).out, "db: nothing is at work on it\n");
  EXPECT_EQ(run({"init"}).out, "made the repository 5ca1ab1e\n");
  operations_.on_wait = [](const auto&, const auto&, auto) {
    throw base::Corrupt("the restore of db failed: the pack 12 is damaged");
  };
  const Ran ran = run({"wait", "db"});
  EXPECT_EQ(ran.err, "davit: the restore of db failed: the pack 12 is damaged\n");
  EXPECT_EQ(ran.exit_code, 1);
}

TEST(Client, ASignalLeavesABackupRunning) {
  for (const int number : {SIGINT, SIGTERM}) {
    Gate begun, go_on, ended;
    TestDaemon daemon;
    daemon.operations.on_backup = [&](const auto&, const auto&, std::stop_token stop) {
      begun.open();
      EXPECT_TRUE(go_on.wait());
      EXPECT_FALSE(stop.stop_requested());
      ended.open();
      return std::vector<jobs::BackupOutcome>();
    };
    ClientProcess client = daemon.start({"backup"});
    ASSERT_TRUE(begun.wait());
    client.signal(number);
    const Ran ran = client.finish();
    EXPECT_EQ(ran.exit_code, 130);
    EXPECT_THAT(ran.err, HasSubstr("goes on in the daemon; watch it with: davit status"));
    go_on.open();
    EXPECT_TRUE(ended.wait());
  }
}

TEST_F(ClientTest, ExplainsMistakes) {
  const Ran unknown = run({"bakcup"});
  EXPECT_EQ(unknown.exit_code, 1);
  EXPECT_THAT(unknown.err, HasSubstr("bakcup"));
  const Ran option = run({"key", "add", "--nope"});
  EXPECT_EQ(
      option.err,
      "davit: The following argument was not expected: --nope\nRun 'davit key add --help'.\n");
  EXPECT_THAT(run({"key"}).err, HasSubstr("Run 'davit key --help'."));
  EXPECT_EQ(run({"--help"}).exit_code, 0);
  EXPECT_EQ(run({}).exit_code, 0);
  EXPECT_EQ(run({"--version"}).out, "davit " DAVIT_VERSION "\n");
  EXPECT_THAT(run({"help", "restore"}).out, HasSubstr("--in-place"));
  EXPECT_TRUE(operations_.asked().empty());
}

TEST_F(ClientTest, FailsWhenItsOutputIsLost) {
  ClientProcess::Options options;
  options.program = "/bin/sh";
  options.name = "sh";
  options.environment["DAVIT_SOCKET"] = daemon_.socket();
  const Ran ran =
      ClientProcess({"-c", "'" DAVIT_CLIENT "' key export > /dev/full"}, options).finish();
  EXPECT_EQ(ran.exit_code, 1);
  EXPECT_THAT(ran.err, HasSubstr("cannot write the output: No space left on device"));
}

}  // namespace
}  // namespace davit::cli
