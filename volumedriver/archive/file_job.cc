#include "archive/file_job.h"

#include "base/errors.h"
#include "repo/chunker.h"

namespace davit::archive {

namespace {
constexpr size_t kKeptOfSpare = 4 << 20;
}

BufferPool::Lease BufferPool::take(size_t size) {
  const bool large = size > repo::kMinChunk;
  Lease lease;
  lease.cost_ = large ? repo::kMaxChunk : size;
  {
    std::unique_lock lock(mutex_);
    freed_.wait(lock, [&] {
      return stopped_ || used_bytes_ == 0 || used_bytes_ + lease.cost_ <= limit_bytes_;
    });
    if (stopped_) throw base::Cancelled();
    if (large && !spare_.empty()) {
      lease.bytes = std::move(spare_.back());
      spare_.pop_back();
    }
    used_bytes_ += lease.cost_;
  }
  lease.pool_ = this;
  lease.bytes.reserve(lease.cost_);
  lease.bytes.resize(size);
  return lease;
}

void BufferPool::Lease::shrink(size_t size) {
  bytes.resize(size);
  if (bytes.capacity() < repo::kMaxChunk || cost_ <= size) return;
  pool_->give_cost(cost_ - size);
  cost_ = size;
}

void BufferPool::give_cost(size_t cost) {
  {
    std::lock_guard lock(mutex_);
    used_bytes_ -= cost;
  }
  freed_.notify_all();
}

void BufferPool::give_back(base::Bytes buffer, size_t cost) {
  const bool large = buffer.capacity() >= repo::kMaxChunk;
  if (large) base::trim(buffer, kKeptOfSpare);
  {
    std::lock_guard lock(mutex_);
    used_bytes_ -= cost;
    if (large && spare_.size() < kSpareBuffers) spare_.push_back(std::move(buffer));
  }
  freed_.notify_all();
}

void BufferPool::stop() {
  {
    std::lock_guard lock(mutex_);
    stopped_ = true;
  }
  freed_.notify_all();
}

}  // namespace davit::archive
