#include "support/rooms.h"

#include "base/errors.h"
#include "base/files.h"
#include "base/zone.h"
#include "driver/options.h"
#include "schedule/cron.h"
#include "support/quick_repository.h"

namespace davit::test {

namespace {

void check_schedule(const std::string& text) { schedule::Schedule::parse(text, base::Zone()); }
void check_volume_schedule(const std::string& text, const std::string& volume) {
  schedule::Schedule::parse(text, base::Zone(), volume);
}

jobs::Manager::Hooks hooks() {
  return {.next_backup = {},
          .next_commit = {},
          .next_prune = {},
          .next_scrub = {},
          .replan = {},
          .validate_options =
              [](const volumes::OptionMap& options, const std::string& volume) {
                driver::validate_options(options, volume, check_volume_schedule);
              },
          .merge_options =
              [](const volumes::OptionMap& saved, const volumes::OptionMap& given, const std::string& volume) {
                return driver::merge_options(saved, given, volume, check_volume_schedule);
              },
          .wants_images = driver::wants_images};
}

std::map<std::string, std::string> with_defaults(std::map<std::string, std::string> environment) {
  environment.insert({"DAVIT_HOSTNAME", "here"});
  environment.insert({"TZ", "UTC"});
  return environment;
}

}  // namespace

Rooms::Rooms(const std::string& data_directory, RoomsOptions options)
    : data(data_directory),
      settings(data + "/davit.conf", with_defaults(std::move(options.environment)), check_schedule),
      registry(data, options.clock ? *options.clock : system_clock),
      repository(settings, data, "11111111-2222-3333-4444-555555555555", options.timing),
      context{options.clock ? *options.clock : system_clock, settings, registry, repository, &engine, data, "test"},
      manager(context, hooks()),
      restores(manager, [this] { manager.run_aside([this] { registry.sweep([this] { return stopping.load(); }); }); }),
      driver(registry, restores, check_volume_schedule) {
  if (!options.engine_state.empty()) engine.persist_in(options.engine_state);
}

Rooms::~Rooms() {
  stopping = true;
  manager.stop();
}

void Rooms::start() {
  manager.start();
  restores.start_sweep();
}

driver::Budget Rooms::budget() { return {std::chrono::steady_clock::now() + std::chrono::minutes(2)}; }

void Rooms::create(const std::string& name, const volumes::OptionMap& options) {
  driver.create(name, options, budget());
  driver.mount(name, "test", budget());
  driver.unmount(name, "test");
}

jobs::BackupOutcome Rooms::backup(const std::string& name) { return manager.backup({name}, {}, {}, {}).at(0); }

void Rooms::settle(const std::string& name) {
  std::vector<std::string> uuids;
  if (const auto volume = registry.find(name)) uuids.push_back(volume->uuid);
  for (const auto& volume : registry.list_removed())
    if (volume.name == name) uuids.push_back(volume.uuid);
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::minutes(2);
  for (const auto& uuid : uuids)
    while (const auto job = manager.find_job(uuid))
      if (!job->wait_until(deadline)) throw base::Error("a job of volume " + name + " does not end");
}

void Rooms::settle_container(const std::string& name) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::minutes(2);
  while (const auto job = manager.find_job("container:" + name))
    if (!job->wait_until(deadline)) throw base::Error("a job of container " + name + " does not end");
}

void Rooms::write(const std::string& volume, const std::string& file, const std::string& text) const {
  base::write_file_atomic(directory(volume) + "/" + file, base::as_bytes(text), 0644);
}

std::string Rooms::read(const std::string& volume, const std::string& file) const {
  const auto bytes = base::find_file(directory(volume) + "/" + file);
  return bytes ? std::string(base::as_text(*bytes)) : "";
}

std::vector<jobs::SnapshotInfo> Rooms::snapshots(const std::string& volume) { return manager.snapshots(volume, ""); }

void make_data_directory(const std::string& data) {
  base::make_directories(data + "/secrets");
  make_quick_repository(data + "/repository");
  base::write_file_atomic(data + "/secrets/repository-password", base::as_bytes(std::string(kQuickPassword) + "\n"));
}

}  // namespace davit::test
