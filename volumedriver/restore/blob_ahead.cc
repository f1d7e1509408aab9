#include "restore/blob_ahead.h"

#include <algorithm>
#include <utility>

#include "base/errors.h"

namespace davit::restore {

namespace {
constexpr size_t kSpareBuffers = 16;
}

BlobAhead::BlobAhead(const repo::Repository& repository, const std::vector<WantedPiece>& wanted,
                     uint64_t limit_bytes, std::stop_token stop)
    : repository_(repository),
      wanted_(wanted),
      limit_bytes_(limit_bytes),
      stop_(std::move(stop)),
      crew_([this] { this->stop(); }),
      on_stop_(stop_, [this] { this->stop(); }) {
  const size_t threads = std::min<size_t>(
      {wanted.size(), 32u, base::processor_count() + repository.store().connections()});
  for (size_t i = 0; i < threads; ++i) crew_.start("load", [this] { run(); });
}

BlobAhead::~BlobAhead() {
  stop();
  try {
    crew_.join();
  } catch (...) {
    // take() told it, or nobody wants to know any more.
  }
}

void BlobAhead::stop() {
  {
    std::lock_guard lock(mutex_);
    stopped_ = true;
  }
  loaded_.notify_all();
  freed_.notify_all();
}

void BlobAhead::run() {
  for (;;) {
    size_t number;
    base::Bytes buffer;
    {
      std::unique_lock lock(mutex_);
      // In order, so that the one that is waited for never waits for room itself.
      freed_.wait(lock, [&] {
        return stopped_ || next_to_load_ == wanted_.size() || used_bytes_ == 0 ||
               used_bytes_ + wanted_[next_to_load_].size_bytes <= limit_bytes_;
      });
      if (stopped_ || next_to_load_ == wanted_.size()) return;
      number = next_to_load_++;
      used_bytes_ += wanted_[number].size_bytes;
      if (!spare_.empty()) {
        buffer = std::move(spare_.back());
        spare_.pop_back();
      }
    }
    load(wanted_[number], buffer);
    {
      std::lock_guard lock(mutex_);
      ready_.emplace(number, std::move(buffer));
    }
    loaded_.notify_one();
  }
}

void BlobAhead::load(const WantedPiece& piece, base::Bytes& into) const {
  const auto location = repository_.index().find(repo::BlobType::data, piece.id);
  try {
    if (!location) throw base::NotFound("the repository lacks the blob " + piece.id.hex());
    repository_.load_blob_from(*location, repo::BlobType::data, piece.id, into);
  } catch (const base::Error&) {
    into = repository_.load_blob(repo::BlobType::data, piece.id);  // there may be other copies
  }
  if (into.size() != piece.size_bytes)
    throw base::Corrupt("the index gives a wrong size for the blob " + piece.id.hex());
}

base::Bytes BlobAhead::take() {
  DAVIT_CHECK(next_to_take_ < wanted_.size());
  base::Bytes bytes;
  {
    std::unique_lock lock(mutex_);
    loaded_.wait(lock, [&] { return stopped_ || ready_.contains(next_to_take_); });
    if (stopped_) {
      lock.unlock();
      crew_.join();
      throw base::Cancelled();
    }
    bytes = std::move(ready_.extract(next_to_take_).mapped());
    used_bytes_ -= wanted_[next_to_take_++].size_bytes;
  }
  freed_.notify_all();
  return bytes;
}

void BlobAhead::recycle(base::Bytes buffer) {
  std::lock_guard lock(mutex_);
  if (spare_.size() < kSpareBuffers) spare_.push_back(std::move(buffer));
}

}  // namespace davit::restore
