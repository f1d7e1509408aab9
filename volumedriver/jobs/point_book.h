// Which job makes which snapshot of which point. A job that begins asks the book: it either finds that a point was
// planned which wants a snapshot of its volume or container, or it plans one itself, and the book assigns a piece of
// the same point to each of the others. No job waits for another one of its point.
//
// Any thread may call anything.
#pragma once

#include <condition_variable>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "jobs/operations.h"
#include "jobs/points.h"

namespace davit::jobs {

// One snapshot that a point is to have: shared by who makes it and who waits for it.
class Piece {
 public:
  Piece(std::string job_key, PointMark point, std::string volume, std::string container, std::string container_id)
      : job_key(std::move(job_key)), point(std::move(point)), volume(std::move(volume)),
        container(std::move(container)), container_id(std::move(container_id)) {}

  const std::string job_key;                  // of the job that makes it
  const PointMark point;
  const std::string volume;                   // its UUID, or ""
  const std::string container, container_id;  // or ""

  // Once; later calls are ignored.
  void finish(const BackupOutcome& outcome);
  void fail(std::exception_ptr failure);
  bool finished() const;
  // False at the deadline.
  bool wait_until(std::chrono::steady_clock::time_point deadline) const;
  // Of a finished one; throws what it failed with.
  BackupOutcome outcome() const;

 private:
  friend class PointBook;
  void settle(const BackupOutcome& outcome, std::exception_ptr failure);
  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;
  bool finished_ = false;
  BackupOutcome outcome_;
  std::exception_ptr failure_;
  std::vector<std::shared_ptr<Piece>> replaced_;  // of earlier points, which get what this one gets
};

struct PlannedPoint {
  PointMark mark;
  std::vector<std::shared_ptr<Piece>> pieces;
  std::string problem;  // why containers may be missing
  bool open() const;    // a piece is still to come
};

class PointBook {
 public:
  struct Begun {
    std::shared_ptr<PlannedPoint> point;
    std::shared_ptr<Piece> piece;
    // For the caller to be submitted; empty where the point was planned before.
    std::vector<std::shared_ptr<Piece>> others;
  };
  // For the job `key`, at its beginning. `plan` is called where nothing was planned for it, one at a time: so two jobs
  // that belong together do not both plan. It must make a piece for `key`. Throws what it throws.
  Begun begin(const std::string& key, const std::function<PlannedPoint()>& plan);
  // While this is held nothing is planned: for whoever starts several jobs, which may belong together.
  [[nodiscard]] std::unique_lock<std::mutex> hold_plans() { return std::unique_lock(planning_); }
  // Nobody has begun it, and no later point replaced it.
  bool is_waiting(const std::shared_ptr<Piece>& piece) const;
  // Takes it out, where it will not be begun any more; false where it was begun.
  bool withdraw(const std::shared_ptr<Piece>& piece);
  // Some pieces of the point are still to come.
  bool is_open(const std::string& point_id) const;

 private:
  struct Assigned {
    std::shared_ptr<PlannedPoint> point;
    std::shared_ptr<Piece> piece;
  };
  std::mutex planning_;
  mutable std::mutex mutex_;  // protects the rest
  std::map<std::string, Assigned> assigned_;                     // by key of the job that is to take it
  std::map<std::string, std::weak_ptr<PlannedPoint>> points_;    // by ID
};

}  // namespace davit::jobs
