#include "jobs/point_book.h"

#include <algorithm>

#include "base/errors.h"

namespace davit::jobs {

void Piece::settle(const BackupOutcome& outcome, std::exception_ptr failure) {
  std::vector<std::shared_ptr<Piece>> replaced;
  {
    std::lock_guard lock(mutex_);
    if (finished_) return;
    finished_ = true;
    outcome_ = outcome;
    failure_ = failure;
    replaced.swap(replaced_);
  }
  changed_.notify_all();
  for (const auto& each : replaced) each->settle(outcome, failure);
}

void Piece::finish(const BackupOutcome& outcome) { settle(outcome, nullptr); }
void Piece::fail(std::exception_ptr failure) { settle({}, std::move(failure)); }

bool Piece::finished() const {
  std::lock_guard lock(mutex_);
  return finished_;
}

bool Piece::wait_until(std::chrono::steady_clock::time_point deadline) const {
  std::unique_lock lock(mutex_);
  return changed_.wait_until(lock, deadline, [&] { return finished_; });
}

BackupOutcome Piece::outcome() const {
  std::lock_guard lock(mutex_);
  DAVIT_CHECK(finished_);
  if (failure_) std::rethrow_exception(failure_);
  return outcome_;
}

bool PlannedPoint::open() const {
  return std::any_of(pieces.begin(), pieces.end(), [](const auto& piece) { return !piece->finished(); });
}

PointBook::Begun PointBook::begin(const std::string& key, const std::function<PlannedPoint()>& plan) {
  const auto take = [&]() -> std::optional<Begun> {
    std::lock_guard lock(mutex_);
    const auto found = assigned_.find(key);
    if (found == assigned_.end()) return std::nullopt;
    Begun begun{found->second.point, found->second.piece, {}};
    assigned_.erase(found);
    return begun;
  };
  if (auto begun = take()) return *begun;
  std::lock_guard one_at_a_time(planning_);
  if (auto begun = take()) return *begun;  // by whoever planned just now
  const auto point = std::make_shared<PlannedPoint>(plan());
  Begun begun{point, nullptr, {}};
  std::lock_guard lock(mutex_);
  std::erase_if(points_, [](const auto& each) { return each.second.expired(); });
  points_[point->mark.id] = point;
  for (const auto& piece : point->pieces) {
    if (piece->job_key == key) {
      begun.piece = piece;
      continue;
    }
    // What an earlier point wanted of it and did not get yet, it gets with this one: the queue never grows.
    if (const auto earlier = assigned_.find(piece->job_key); earlier != assigned_.end())
      piece->replaced_.push_back(earlier->second.piece);
    assigned_[piece->job_key] = {point, piece};
    begun.others.push_back(piece);
  }
  DAVIT_CHECK(begun.piece != nullptr);
  return begun;
}

bool PointBook::is_waiting(const std::shared_ptr<Piece>& piece) const {
  std::lock_guard lock(mutex_);
  const auto found = assigned_.find(piece->job_key);
  return found != assigned_.end() && found->second.piece == piece;
}

bool PointBook::withdraw(const std::shared_ptr<Piece>& piece) {
  std::lock_guard lock(mutex_);
  const auto found = assigned_.find(piece->job_key);
  if (found == assigned_.end() || found->second.piece != piece) return false;
  assigned_.erase(found);
  return true;
}

bool PointBook::is_open(const std::string& point_id) const {
  std::lock_guard lock(mutex_);
  const auto found = points_.find(point_id);
  const auto point = found == points_.end() ? nullptr : found->second.lock();
  return point && point->open();
}

}  // namespace davit::jobs
