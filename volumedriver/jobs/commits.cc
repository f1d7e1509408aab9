#include "jobs/commits.h"

#include <algorithm>

#include "base/errors.h"
#include "base/fault.h"
#include "base/log.h"

namespace davit::jobs {

using namespace std::chrono_literals;

namespace {

// How long an engine may be at a commit of which nobody hears any more.
constexpr auto kMayStillCome = 1h;
constexpr std::chrono::seconds kFirstPause{1}, kLongestPause{60};

bool has_label(const engine::Image& image, const char* label, const std::string& value) {
  const auto found = image.labels.find(label);
  return found != image.labels.end() && found->second == value;
}

bool is_of(const engine::Image& image, const CommitEntry& entry) {
  return has_label(image, kLabelPoint, entry.point) && has_label(image, kLabelContainer, entry.container);
}

void unpause(engine::Engine& engine, const CommitEntry& entry) {
  if (!entry.was_running || entry.was_paused) return;
  const auto is_paused_by_us = [&] {
    try {
      const auto now = engine.inspect_container(entry.container_id);
      return now.paused && now.started_at == entry.started_at;
    } catch (const base::NotFound&) {
      return false;
    }
  };
  if (!is_paused_by_us()) return;
  base::fault_point("commit:unpause");
  try {
    engine.unpause(entry.container_id);
  } catch (const base::Error&) {  // by itself or by somebody meanwhile: good
    if (is_paused_by_us()) throw;
  }
  spdlog::warn("container {} was still paused by a commit that was cut short: it runs again", entry.container);
}

// False where a container uses it: then it is somebody's, who has found a use for it.
bool remove(engine::Engine& engine, const std::string& image, const CommitEntry& entry) {
  try {
    engine.remove_image(image);
    return true;
  } catch (const base::Conflict& error) {
    spdlog::warn("the image {} of a commit of {} stays in the engine: {}", image, entry.container, error.what());
    return false;
  }
}

}  // namespace

bool undo_commit(engine::Engine& engine, const CommitEntry& entry, const KeptImages& kept, base::Time now) {
  unpause(engine, entry);
  if (kept.holds(entry.reference, entry.point)) return true;
  bool found = !entry.image_id.empty();  // it has answered: nothing more will come
  if (const auto image = engine.find_image(entry.reference); image && is_of(*image, entry)) {
    found = true;
    base::fault_point("commit:remove");
    remove(engine, entry.reference, entry);
  }
  for (const auto& image : engine.list_images({{kLabelPoint, entry.point}, {kLabelContainer, entry.container}}, true)) {
    found = true;
    remove(engine, image.id, entry);
  }
  return found || now - entry.begun > kMayStillCome;
}

Commits::Commits(engine::Engine* engine, const base::Clock& clock, const std::string& data_directory)
    : engine_(engine), clock_(clock), journal_(data_directory + "/state/commits"),
      kept_(data_directory + "/state/kept-images.json") {}

Commits::~Commits() { stop(); }

void Commits::start() {
  std::lock_guard lock(mutex_);
  pending_ = journal_.load();
  for (const auto& entry : pending_) {
    reserved_.insert(entry.reference);
    spdlog::warn("a commit of container {} was cut short: it is taken back", entry.container);
  }
  fresh_ = true;
  if (!thread_.joinable()) thread_ = std::thread([this] { run(); });
}

void Commits::stop() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

ImageName Commits::reserve_name(const std::string& container, base::Time time) {
  for (unsigned attempt = 1;; ++attempt) {
    const ImageName name = commit_image_name(engine_->kind(), container, time, attempt);
    {
      std::lock_guard lock(mutex_);
      if (!reserved_.insert(name.reference()).second) continue;
    }
    try {
      if (!engine_->find_image(name.reference())) return name;
    } catch (...) {
      release_name(name.reference());
      throw;
    }
    release_name(name.reference());
  }
}

void Commits::release_name(const std::string& reference) {
  std::lock_guard lock(mutex_);
  reserved_.erase(reference);
}

bool Commits::settle(const CommitEntry& entry) {
  bool done = false;
  try {
    done = undo_commit(*engine_, entry, kept_, clock_.now());
    if (done) journal_.close(entry);
  } catch (const base::Error& error) {
    spdlog::warn("a commit of container {} is still to be taken back: {}", entry.container, error.what());
    done = false;
  }
  {
    std::lock_guard lock(mutex_);
    if (done) {
      reserved_.erase(entry.reference);
      return true;
    }
    pending_.push_back(entry);
    fresh_ = true;
  }
  changed_.notify_all();
  return false;
}

void Commits::keep(const CommitEntry& entry, base::Time time) {
  kept_.add(entry.container, {entry.reference, entry.point, time});
}

void Commits::trim_kept(const std::string& container, unsigned count) {
  auto images = kept_.list(container);
  const size_t surplus = images.size() - std::min<size_t>(images.size(), count);
  images.resize(surplus);
  for (const auto& image : images) {
    const auto found = engine_->find_image(image.reference);
    if (found && has_label(*found, kLabelPoint, image.point)) {
      try {
        engine_->remove_image(image.reference);
      } catch (const base::Conflict& error) {
        spdlog::info("the image {} is in use and stays: {}", image.reference, error.what());
        continue;
      }
    }
    kept_.remove(container, image.reference);
  }
}

size_t Commits::pending() const {
  std::lock_guard lock(mutex_);
  return pending_.size();
}

void Commits::run() {
  auto pause = kFirstPause;
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    fresh_ = false;
    const auto entries = pending_;
    lock.unlock();
    std::set<std::string> done;
    for (const auto& entry : entries) {
      try {
        if (engine_ == nullptr || !undo_commit(*engine_, entry, kept_, clock_.now())) continue;
        journal_.close(entry);
        done.insert(entry.uuid);
        spdlog::info("a commit of container {} that was cut short is taken back", entry.container);
      } catch (const std::exception& error) {
        spdlog::debug("a commit of container {} is still to be taken back: {}", entry.container, error.what());
      }
    }
    lock.lock();
    for (const auto& entry : entries)
      if (done.contains(entry.uuid)) reserved_.erase(entry.reference);
    std::erase_if(pending_, [&](const auto& entry) { return done.contains(entry.uuid); });
    const auto woken = [&] { return stopping_ || fresh_; };
    if (pending_.empty()) {
      changed_.wait(lock, woken);
      pause = kFirstPause;
    } else {
      if (changed_.wait_for(lock, pause, woken)) pause = kFirstPause;
      else pause = std::min(pause * 2, kLongestPause);
      // What is fresh was tried just now.
      if (fresh_ && !stopping_) changed_.wait_for(lock, kFirstPause, [&] { return stopping_; });
    }
  }
}

}  // namespace davit::jobs
