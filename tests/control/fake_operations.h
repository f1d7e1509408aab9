// Operations that do what a test tells them, and note what they were asked.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "base/errors.h"
#include "jobs/operations.h"

namespace davit::test {

// Opened once; whoever waits gives up at a deadline, so that a fault shows as a failed test.
class Gate {
 public:
  void open() {
    std::lock_guard guard(mutex_);
    open_ = true;
    changed_.notify_all();
  }
  // False when the deadline or `stop` came first.
  bool wait(std::stop_token stop = {}) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, stop, std::chrono::seconds(60), [&] { return open_; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable_any changed_;
  bool open_ = false;
};

class FakeOperations : public jobs::Operations {
 public:
  // What the calls do; each may be replaced. Set before the first call.
  std::function<std::vector<jobs::BackupOutcome>(const std::vector<std::string>&, const jobs::Emit&,
                                                 std::stop_token)>
      on_backup = [](const auto&, const auto&, auto) { return std::vector<jobs::BackupOutcome>(); };
  std::function<jobs::RestoreOutcome(const jobs::RestoreRequest&, const jobs::Emit&,
                                     std::stop_token)>
      on_restore = [](const jobs::RestoreRequest& request, const auto&, auto) {
        jobs::RestoreOutcome outcome;
        outcome.volume = request.target;
        return outcome;
      };
  std::function<jobs::RestoreContainerOutcome(const jobs::RestoreContainerRequest&,
                                              const jobs::Emit&, std::stop_token)>
      on_restore_container = [](const jobs::RestoreContainerRequest& request, const auto&, auto) {
        jobs::RestoreContainerOutcome outcome;
        outcome.container = request.as.empty() ? "web" : request.as;
        return outcome;
      };
  std::function<void(const std::string&, const jobs::Emit&, std::stop_token)> on_wait =
      [](const auto&, const auto&, auto) {};
  std::function<void(const std::function<void(const jobs::ListedNode&)>&)> on_list_files =
      [](const auto&) {};
  std::function<upkeep::CheckReport(const jobs::Emit&, std::stop_token)> on_check =
      [](const auto&, auto) { return upkeep::CheckReport(); };
  std::function<std::vector<jobs::ForgetGroup>(const jobs::ForgetRequest&)> on_forget =
      [](const auto&) { return std::vector<jobs::ForgetGroup>(); };
  std::function<void()> before_any = [] {};  // may throw

  // What they answer.
  std::vector<jobs::SnapshotInfo> snapshot_list;
  jobs::Status current_status;
  upkeep::PrunePlan plan;
  upkeep::RepairReport repaired;
  std::vector<jobs::KeyDetails> keys;
  std::vector<jobs::LockDetails> lock_list;
  std::vector<jobs::SettingValue> setting_list;

  // Makes what one thread did to this, or to what its functions use, known to the others. The test
  // and the daemon's threads may be connected by nothing but a client in another process, which
  // proves nothing to a sanitizer.
  void meet() const { std::lock_guard guard(mutex_); }

  // What was asked, a line each.
  std::vector<std::string> asked() const {
    std::lock_guard guard(mutex_);
    return asked_;
  }

  std::vector<jobs::BackupOutcome> backup(const std::vector<std::string>& volumes,
                                          const std::vector<std::string>& containers,
                                          const jobs::Emit& emit, std::stop_token stop) override {
    std::string line = "backup";
    for (const auto& volume : volumes) line += " " + volume;
    for (const auto& container : containers) line += " container=" + container;
    const Turn turn = note(line);
    return on_backup(volumes, emit, stop);
  }
  jobs::RestoreOutcome restore(const jobs::RestoreRequest& request, const jobs::Emit& emit,
                               std::stop_token stop) override {
    std::string line = "restore " + request.reference + " to " + request.target;
    if (request.in_place) line += " in place";
    for (const auto& [key, value] : request.options) line += " " + key + "=" + value;
    const Turn turn = note(line);
    return on_restore(request, emit, stop);
  }
  jobs::RestoreContainerOutcome restore_container(const jobs::RestoreContainerRequest& request,
                                                  const jobs::Emit& emit,
                                                  std::stop_token stop) override {
    using Volumes = jobs::RestoreContainerRequest::Volumes;
    std::string line = "restore container " + request.reference + " as '" + request.as + "'";
    if (request.volumes == Volumes::keep) line += " keep";
    if (request.volumes == Volumes::point) line += " point";
    if (!request.publish) line += " unpublished";
    if (request.start) line += " start";
    if (request.dry_run) line += " dry";
    const Turn turn = note(line);
    return on_restore_container(request, emit, stop);
  }
  void wait(const std::string& volume, const jobs::Emit& emit, std::stop_token stop) override {
    const Turn turn = note("wait " + volume);
    on_wait(volume, emit, stop);
  }
  std::vector<jobs::SnapshotInfo> snapshots(const std::string& volume,
                                            const std::string& host) override {
    const Turn turn = note("snapshots '" + volume + "' '" + host + "'");
    return snapshot_list;
  }
  void list_files(const std::string& reference, const std::string& below, bool recursive,
                  const std::function<void(const jobs::ListedNode&)>& each) override {
    const Turn turn =
        note("ls " + reference + " '" + below + "'" + (recursive ? " recursive" : ""));
    on_list_files(each);
  }
  jobs::Status status() override {
    const Turn turn = note("status");
    return current_status;
  }
  std::string init_repository() override {
    const Turn turn = note("init");
    return "5ca1ab1e";
  }
  std::vector<jobs::ForgetGroup> forget(const jobs::ForgetRequest& request) override {
    std::string line = "forget";
    for (const auto& target : request.targets) line += " " + target;
    if (request.dry_run) line += " (dry run)";
    const Turn turn = note(line);
    return on_forget(request);
  }
  upkeep::PrunePlan prune(bool dry_run, const jobs::Emit&, std::stop_token) override {
    const Turn turn = note(dry_run ? "prune (dry run)" : "prune");
    return plan;
  }
  upkeep::CheckReport check(const jobs::CheckRequest& request, const jobs::Emit& emit,
                            std::stop_token stop) override {
    std::string line = request.read_data ? "check all data" : "check";
    if (!request.subset.empty()) line += " " + request.subset;
    const Turn turn = note(line);
    return on_check(emit, stop);
  }
  upkeep::RepairReport repair(const jobs::RepairRequest& request, const jobs::Emit&,
                              std::stop_token) override {
    std::string line = "repair";
    if (request.read_data) line += " all data";
    if (request.forget) line += " forget";
    if (request.dry_run) line += " (dry run)";
    const Turn turn = note(line);
    return repaired;
  }
  std::vector<jobs::KeyDetails> key_list() override {
    const Turn turn = note("key list");
    return keys;
  }
  std::string key_add(const std::string& new_password) override {
    const Turn turn = note("key add " + new_password);
    return "0123456789abcdef";
  }
  void key_remove(const std::string& id_prefix) override {
    const Turn turn = note("key remove " + id_prefix);
  }
  void key_passwd(const std::string& new_password) override {
    const Turn turn = note("key passwd " + new_password);
  }
  std::string key_export() override {
    const Turn turn = note("key export");
    return "correct horse";
  }
  std::vector<jobs::LockDetails> locks() override {
    const Turn turn = note("locks");
    return lock_list;
  }
  size_t unlock(bool all) override {
    const Turn turn = note(all ? "unlock all" : "unlock");
    return 2;
  }
  std::vector<jobs::MirrorStatus> mirrors() override {
    const Turn turn = note("mirrors");
    return current_status.mirrors;
  }
  std::vector<jobs::MirrorStatus> sync_mirrors(const jobs::Emit&, std::stop_token) override {
    const Turn turn = note("mirrors sync");
    return current_status.mirrors;
  }
  void accept_mirror(const std::string& place) override {
    const Turn turn = note("mirrors accept " + place);
  }
  std::vector<jobs::SettingValue> settings() override {
    const Turn turn = note("settings");
    return setting_list;
  }
  void set_setting(const std::string& key, const std::optional<std::string>& value) override {
    const Turn turn = note(value ? "set " + key + "=" + *value : "unset " + key);
  }
  void set_volume_option(const std::string& volume, const std::string& key,
                         const std::optional<std::string>& value) override {
    const Turn turn = note(value ? "set " + key + "=" + *value + " of " + volume
                                 : "unset " + key + " of " + volume);
  }

 private:
  // Lasts while a test's function runs.
  class Turn {
   public:
    explicit Turn(const FakeOperations& operations) : operations_(operations) {}
    ~Turn() { operations_.meet(); }
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;

   private:
    const FakeOperations& operations_;
  };

  Turn note(const std::string& line) {
    {
      std::lock_guard guard(mutex_);
      asked_.push_back(line);
    }
    try {
      before_any();
    } catch (...) {
      meet();
      throw;
    }
    return Turn(*this);
  }
  mutable std::mutex mutex_;
  std::vector<std::string> asked_;  // protected by mutex_
};

}  // namespace davit::test
