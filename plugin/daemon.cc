#include "daemon.h"

#include <csignal>
#include <sys/stat.h>
#include <unistd.h>

#include <climits>
#include <memory>
#include <thread>

#include "base/clock.h"
#include "base/errors.h"
#include "base/files.h"
#include "base/log.h"
#include "control/control_api.h"
#include "control/handler.h"
#include "driver/options.h"
#include "driver/volume_driver.h"
#include "engine/engine.h"
#include "http/server.h"
#include "jobs/manager.h"
#include "mount_check.h"
#include "protocol/volume_plugin.h"
#include "restores.h"
#include "schedule/cron.h"
#include "scheduler.h"
#include "version.h"
#include "volumes/installation.h"

namespace davit::daemon {

using namespace std::chrono_literals;

namespace {

// An engine kills a plugin 10 s after SIGTERM; whatever is not done by then is safe to be killed.
constexpr auto kLongestStop = 8s;

std::string who() {
  char host[HOST_NAME_MAX + 1] = {};
  ::gethostname(host, sizeof host - 1);
  return "process " + std::to_string(::getpid()) + " on " + host;
}

void validate_schedule(const std::string& text) { schedule::Schedule::parse(text, base::Zone()); }
void validate_volume_schedule(const std::string& text, const std::string& volume) {
  schedule::Schedule::parse(text, base::Zone(), volume);
}

// Leaves a copy of the client where the host can reach it.
void offer_client(const std::string& client, const std::string& data_directory) {
  try {
    const auto program = base::find_file(client, 256 << 20);
    if (!program) return;
    const std::string place = data_directory + "/bin/davit";
    base::make_directories(data_directory + "/bin", 0755);
    const auto there = base::find_file(place, 256 << 20);
    if (!there || *there != *program) base::write_file_atomic(place, *program, 0755);
    ::chmod(place.c_str(), 0755);
  } catch (const base::Error& error) {
    spdlog::warn("the client cannot be put into {}/bin: {}", data_directory, error.what());
  }
}

// Everything that lives between "the data directory is ours" and the end.
class Installed {
 public:
  Installed(const Options& options, const std::string& installation_id)
      : settings_(options.data_directory + "/davit.conf", options.environment, validate_schedule),
        registry_(options.data_directory, clock_),
        repository_(settings_, options.data_directory, installation_id),
        engine_(engine::make_engine(settings_.get("DOCKER_HOST"))),
        context_{clock_, settings_, registry_, repository_, engine_.get(), options.data_directory, kVersion},
        scheduler_(context_),
        manager_(context_, hooks()),
        restores_(manager_, [this] { sweep(); }),
        driver_(registry_, restores_, validate_volume_schedule),
        control_(manager_, kVersion),
        // A listing may wait behind a pager for as long as somebody reads.
        control_server_({.path = options.data_directory + "/davit.sock", .send_deadline = 1h},
                        control::make_handler(control_)) {
    spdlog::set_level(spdlog::level::from_str(settings_.get("DAVIT_LOG_LEVEL")));
    if (settings_.origin("RESTIC_PASSWORD") == "environment")
      spdlog::warn("the repository's password is in the environment, where `docker plugin inspect` shows it: put it "
                   "into a file and set RESTIC_PASSWORD_FILE");
    for (const std::string key : {"AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "DAVIT_SFTP_KEY_PASSPHRASE",
                                  "RESTIC_REST_PASSWORD"})
      if (settings_.origin(key) == "environment")
        spdlog::warn("{} is in the environment, where `docker plugin inspect` shows it: put it into a file and set "
                     "{}_FILE", key, key);
  }

  driver::Driver& driver() { return driver_; }
  const jobs::Settings& settings() const { return settings_; }

  void start() {
    manager_.start();
    scheduler_.start(manager_);
    start_mount_check();
    sweep();
  }

  // Tells everything to end; the destructor waits for it.
  void stop() {
    stopping_ = true;
    if (mount_check_) mount_check_->stop();
    control_.stop();
    scheduler_.stop();
    manager_.stop();
    control_server_.stop(2s);
  }

 private:
  jobs::Manager::Hooks hooks() {
    return {.next_backup = [this](const volumes::Volume& volume) { return scheduler_.next_backup(volume.name); },
            .next_commit = [this](const std::string& container) { return scheduler_.next_commit(container); },
            .next_prune = [this] { return scheduler_.next_prune(); },
            .next_scrub = [this] { return scheduler_.next_scrub(); },
            .replan = [this] { scheduler_.replan(); },
            .validate_options =
                [](const volumes::OptionMap& options, const std::string& volume) {
                  driver::validate_options(options, volume, validate_volume_schedule);
                },
            .merge_options =
                [](const volumes::OptionMap& saved, const volumes::OptionMap& given, const std::string& volume) {
                  return driver::merge_options(saved, given, volume, validate_volume_schedule);
                },
            .wants_images = driver::wants_images};
  }

  void start_mount_check() {
    const auto mounts = base::find_file("/proc/self/mountinfo", 16 << 20);
    const auto place =
        mounts ? find_propagated(base::as_text(*mounts), registry_.volumes_directory()) : std::nullopt;
    if (!place) return;
    // SIGTERM ends the daemon in good order, and Docker starts a plugin again that it did not end itself.
    mount_check_.emplace(*engine_, *place, context_.data_directory + "/state/started-again",
                         [] { ::kill(::getpid(), SIGTERM); });
    mount_check_->start();
  }

  void sweep() {
    manager_.run_aside([this] { registry_.sweep([this] { return stopping_.load(); }); });
  }

  // In the order of who needs whom.
  std::atomic<bool> stopping_{false};
  base::SystemClock clock_;
  jobs::Settings settings_;
  volumes::Registry registry_;
  jobs::RepositoryAccess repository_;
  std::unique_ptr<engine::Engine> engine_;
  jobs::Context context_;
  Scheduler scheduler_;
  jobs::Manager manager_;
  Restores restores_;
  driver::VolumeDriver driver_;
  std::optional<MountCheck> mount_check_;
  control::ControlApi control_;
  http::Server control_server_;
};

}  // namespace

int run(const Options& options) {
  // Before any thread is made: all of them inherit it, and the main thread waits for these below. SIGHUP is what
  // `restic unlock` sends to a process of the number in a lock.
  sigset_t ends;
  sigemptyset(&ends);
  sigaddset(&ends, SIGTERM);
  sigaddset(&ends, SIGINT);
  ::pthread_sigmask(SIG_BLOCK, &ends, nullptr);
  std::signal(SIGHUP, SIG_IGN);
  std::signal(SIGPIPE, SIG_IGN);

  std::unique_ptr<Installed> installed;
  std::unique_ptr<volumes::Installation> installation;
  std::atomic<const jobs::Settings*> settings{nullptr};
  protocol::VolumePlugin plugin([&settings] {
    protocol::Budgets budgets;
    if (const auto* known = settings.load())
      budgets = {known->duration("DAVIT_BUDGET_DOCKER"), known->duration("DAVIT_BUDGET_PODMAN")};
    return budgets;
  });
  http::Server server({.path = options.plugin_socket},
                      [&](const http::Request& request, http::Responder& responder) { plugin.handle(request, responder); });
  spdlog::info("davitd {} listens on {}", kVersion, options.plugin_socket);
  try {
    base::make_directories(options.data_directory, 0700);
    installation = std::make_unique<volumes::Installation>(options.data_directory, options.second_directory, who());
    installed = std::make_unique<Installed>(options, installation->id());
    settings = &installed->settings();
    offer_client(options.client, options.data_directory);
    plugin.open(installed->driver());
    installed->start();
    spdlog::info("ready: installation {} in {}", installation->id(), options.data_directory);
  } catch (const base::Error& error) {
    // Ending here would make the engine start it again and again, and answering would make it forget the volumes.
    spdlog::critical("no call is answered, so that no engine forgets a volume: {}", error.what());
    plugin.refuse(error.what());
  }

  int signal = 0;
  while (::sigwait(&ends, &signal) != 0) {
  }
  spdlog::info("ending: {}", signal == SIGTERM ? "SIGTERM" : "SIGINT");
  std::jthread watchdog([](std::stop_token done) {
    std::mutex mutex;
    std::condition_variable_any never;
    std::unique_lock lock(mutex);
    if (!never.wait_for(lock, done, kLongestStop, [&] { return done.stop_requested(); })) {
      spdlog::warn("some work did not end in time; it is safe to be cut off");
      ::_exit(0);
    }
  });
  if (installed) installed->stop();
  server.stop(2s);
  installed.reset();
  return 0;
}

}  // namespace davit::daemon
