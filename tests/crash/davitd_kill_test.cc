// The real davitd under kill -9 at random moments, while an engine and a person ask things of it. What it acknowledged
// it must know the next time, and at the end the repository must be whole.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <mutex>
#include <random>
#include <set>
#include <thread>

#include "base/errors.h"
#include "base/fd.h"
#include "base/files.h"
#include "crash_script.h"
#include "jobs/references.h"
#include "restore/restorer.h"
#include "store/open.h"
#include "support/program.h"
#include "support/quick_repository.h"
#include "support/restic.h"
#include "support/rooms.h"
#include "support/temp_dir.h"
#include "support/unix_client.h"
#include "upkeep/check.h"

namespace davit::crash {
namespace {

using ::testing::IsEmpty;
namespace fs = std::filesystem;
using Contents = std::set<int>;  // what it may be: more than one where a kill left it open
constexpr int kNone = -2;        // perhaps there is no snapshot

std::map<std::string, std::string> read_all(const std::string& directory) {
  std::map<std::string, std::string> files;
  for (const auto& entry : fs::recursive_directory_iterator(directory))
    if (entry.is_regular_file())
      files[fs::relative(entry.path(), directory)] = base::as_text(base::get_file(entry.path()));
  return files;
}

int number_of(const std::map<std::string, std::string>& files) {
  for (int number = 0; number <= 4; ++number) {
    const auto content = content_of(number);
    if (files == std::map<std::string, std::string>(content.begin(), content.end())) return number;
  }
  return -1;
}

class DavitdKill : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    if (::access("/dev/shm", W_OK) == 0) ::setenv("TMPDIR", "/dev/shm", 0);
    ::signal(SIGPIPE, SIG_IGN);
  }
  DavitdKill() { test::make_data_directory(data_); }

  void start() {
    auto environment = keep_all();
    environment.insert({{"DAVIT_HOSTNAME", "here"},
                        {"DAVIT_SCHEDULE", "off"},
                        {"DAVIT_PRUNE_SCHEDULE", "off"},
                        {"DAVIT_LOG_LEVEL", "error"},
                        {"DAVIT_STATE", "off"},
                        {"DOCKER_HOST", "unix:///nonexistent/engine.sock"}});
    daemon_ = std::make_unique<test::Program>(
        std::vector<std::string>{DAVITD, "--data", data_, "--socket", engine_socket_}, environment);
  }
  void kill() {
    ::kill(daemon_->pid(), SIGKILL);
    daemon_->wait();
    daemon_.reset();
  }
  void end() {
    ::kill(daemon_->pid(), SIGTERM);
    const auto outcome = daemon_->wait(std::chrono::seconds(60));
    EXPECT_EQ(outcome.exit_code, 0) << outcome.errors << outcome.output;
    daemon_.reset();
  }

  // The whole answer; "" where nobody answers (any more).
  static std::string post(const std::string& socket, const std::string& path, const std::string& body) {
    try {
      test::UnixClient client(socket);
      return client.ask("POST " + path + " HTTP/1.1\r\nHost: davit\r\nContent-Length: " + std::to_string(body.size()) +
                        "\r\n\r\n" + body);
    } catch (const base::Error&) {
      return "";
    }
  }
  // True: done. False: refused, or the daemon died.
  bool call(const std::string& name, const std::string& body) {
    last_answer_ = post(engine_socket_, "/VolumeDriver." + name, body);
    return last_answer_.find("HTTP/1.1 200") == 0 && last_answer_.find("\"Err\":\"\"") != std::string::npos;
  }
  bool command(const std::string& name, const std::string& body) {
    last_answer_ = post(data_ + "/davit.sock", "/v1/" + name, body);
    return last_answer_.find("\"exit_code\":0") != std::string::npos;
  }
  static std::string named(const std::string& volume, const std::string& rest = "") {
    return "{\"Name\":\"" + volume + "\"" + rest + "}";
  }

  void write(const std::string& volume, int number) {
    const std::string directory = data_ + "/volumes/" + volume;
    for (const auto& name : base::list_directory(directory)) base::remove_tree(directory + "/" + name);
    fs::create_directory(directory + "/dir");
    for (const auto& [name, text] : content_of(number))
      std::ofstream(directory + "/" + name, std::ios::binary) << text;
  }

  // One thing that somebody asks; false once the daemon is dead.
  bool act(std::mt19937_64& random) {
    const auto below = [&](unsigned limit) { return static_cast<unsigned>(random() % limit); };
    const std::string name = "v" + std::to_string(below(3));
    const bool there = volumes_.contains(name);
    if (!there) {
      const bool again = below(3) != 0 && !latest_[name].empty();
      // A volume without a snapshot is empty; one with some comes back as the newest.
      Contents result = again ? latest_[name] : Contents{0};
      if (result.erase(kNone) > 0) result.insert(0);
      pending_ = [=, this](bool exists) {
        if (exists) volumes_[name] = result;
      };
      pending_name_ = name;
      if (!call("Create", named(name, again ? ",\"Opts\":{\"from\":\"auto\"}" : "")) || !call("Mount", named(name, ",\"ID\":\"x\"")))
        return alive();
      volumes_[name] = result;
      pending_ = nullptr;
      return true;
    }
    switch (below(8)) {
      case 0:
      case 1: {
        const int number = 1 + static_cast<int>(below(4));
        write(name, number);
        volumes_[name] = {number};
        return true;
      }
      case 2:
      case 3:
      case 4: {
        if (latest_[name].empty()) latest_[name].insert(kNone);
        latest_[name].insert(volumes_[name].begin(), volumes_[name].end());
        if (!command("backup", "{\"volumes\":[\"" + name + "\"]}")) return alive();
        latest_[name] = volumes_[name];
        return true;
      }
      case 5: {
        const Contents content = volumes_[name];
        pending_ = [=, this](bool exists) {
          if (exists) return;
          volumes_.erase(name);
          latest_[name] = content;  // its last backup is owed from the moment of the removal on
        };
        pending_name_ = name;
        if (!call("Remove", named(name))) return alive();
        volumes_.erase(name);
        latest_[name] = content;
        pending_ = nullptr;
        return true;
      }
      case 6: return command("prune", "{}") || alive();
      default: return call("Get", named(name)) || alive();
    }
  }
  // What was refused by a daemon that lives is a failure of the test.
  bool alive() {
    if (!killed_) ADD_FAILURE() << "refused: " << last_answer_;
    return false;
  }

  // After a start: what was open is settled by what is there, and what is there must be what was promised.
  void verify() {
    ASSERT_TRUE(test::eventually([&] { return call("List", "{}"); })) << last_answer_;
    if (pending_) {
      std::exchange(pending_, nullptr)(last_answer_.find("\"" + pending_name_ + "\"") != std::string::npos);
    }
    for (auto& [name, allowed] : volumes_) {
      ASSERT_TRUE(test::eventually([&] { return call("Mount", named(name, ",\"ID\":\"x\"")); }))
          << name << ": " << last_answer_;
      const int found = number_of(read_all(data_ + "/volumes/" + name));
      EXPECT_TRUE(allowed.contains(found)) << name << " holds content " << found;
      allowed = {found};
    }
    for (const auto& name : base::list_directory(data_ + "/volumes"))
      EXPECT_TRUE(volumes_.contains(name)) << name << " is there";
  }

  // `settled`: nothing is under way, so the newest of each volume must be what was promised.
  void expect_whole_repository(bool with_restic, bool settled) {
    const std::shared_ptr<repo::Repository> repository =
        repo::Repository::open(store::open_store(data_ + "/repository"), test::kQuickPassword);
    repository->refresh_index();
    EXPECT_THAT(upkeep::check(*repository, {.read_data = true, .progress = nullptr, .stop = {}}).errors, IsEmpty());
    std::map<std::string, int> newest;
    for (const auto& file : repository->load_snapshots()) {
      const test::TempDir place;
      const base::Fd directory = base::open_file(place.path(), O_RDONLY | O_DIRECTORY);
      restore::restore_tree(*repository, file.snapshot.tree, file.snapshot.paths.at(0), directory.get(),
                            {.progress = nullptr, .stop = {}, .sync = false, .scan_cache_path = {}});
      newest[jobs::volume_of(file.snapshot)] = number_of(read_all(place.path()));
      EXPECT_GE(newest[jobs::volume_of(file.snapshot)], 0) << file.id.short_hex();
    }
    for (const auto& [name, allowed] : latest_) {
      if (!settled || allowed.empty()) continue;
      const int found = newest.contains(name) ? newest.at(name) : kNone;
      EXPECT_TRUE(allowed.contains(found)) << name << ": the newest snapshot has " << found;
    }
    if (with_restic && test::Restic::is_installed()) {
      // The dead daemon's lock may be there still.
      std::vector<std::string> arguments = {"check", "--read-data", "--no-cache"};
      if (!settled) arguments.emplace_back("--no-lock");
      const auto check = test::Restic(data_ + "/repository", test::kQuickPassword).run(arguments);
      EXPECT_EQ(check.exit_code, 0) << check.output;
    }
  }

  const test::TempDir directory_;
  const std::string data_ = directory_ / "data";
  const std::string engine_socket_ = directory_ / "engine.sock";
  std::unique_ptr<test::Program> daemon_;
  std::atomic<bool> killed_{false};
  std::string last_answer_;
  std::map<std::string, Contents> volumes_, latest_;
  std::function<void(bool exists)> pending_;  // a call whose answer nobody heard
  std::string pending_name_;
};

TEST_F(DavitdKill, AtRandomMomentsLosesNothingThatItAcknowledged) {
  const bool soak = std::getenv("DAVIT_SOAK") != nullptr;
  const char* text = std::getenv("DAVIT_SEED");
  const uint64_t seed = text ? std::strtoull(text, nullptr, 10) : soak ? std::random_device()() : 20261122;
  SCOPED_TRACE("DAVIT_SEED=" + std::to_string(seed));
  std::mt19937_64 random(seed);
  int acts = 0;
  for (int life = 0; life < (soak ? 300 : 24) && !HasFailure(); ++life) {
    SCOPED_TRACE("life " + std::to_string(life));
    killed_ = false;
    start();
    verify();
    if (HasFailure()) break;
    // Most lives end in their first second, when a few things were asked.
    const auto moment = std::chrono::milliseconds(std::uniform_int_distribution<int>(1, 1500)(random));
    std::mt19937_64 actor_random(random());
    std::mutex mutex;
    std::condition_variable ended;
    bool over = false;
    std::thread actor([&] {
      while (act(actor_random)) ++acts;
      const std::lock_guard lock(mutex);
      over = true;
      ended.notify_all();
    });
    {
      std::unique_lock lock(mutex);
      ended.wait_for(lock, moment, [&] { return over; });  // a refusal ends it early
    }
    killed_ = true;
    kill();
    actor.join();
    // The daemon is dead and all is as it left it: nothing in the repository may be torn even now.
    if (life % 8 == 7) expect_whole_repository(life == 7, false);
  }
  if (HasFailure()) return;
  // The last one comes to rest, and ends as it is asked to.
  killed_ = false;
  start();
  verify();
  EXPECT_TRUE(test::eventually([&] {
    return base::list_directory(data_ + "/removed").empty() && base::list_directory(data_ + "/staging").empty();
  }));
  end();
  expect_whole_repository(true, true);
  EXPECT_GT(acts, 40);
}

}  // namespace
}  // namespace davit::crash
