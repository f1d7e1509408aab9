#include "archive/slabs.h"

#include <algorithm>
#include <cstring>

#include "base/errors.h"

namespace davit::archive {

Slabs::Handle Slabs::take() {
  std::unique_ptr<base::Bytes> slab;
  {
    std::unique_lock lock(mutex_);
    freed_.wait(lock, [&] { return stopped_ || !free_.empty() || made_ < limit_; });
    if (stopped_) throw base::Cancelled();
    if (!free_.empty()) {
      slab = std::move(free_.back());
      free_.pop_back();
    } else {
      ++made_;
    }
  }
  if (!slab) slab = std::make_unique<base::Bytes>(kSize);
  return {slab.release(),
          [this](base::Bytes* returned) { give_back(std::unique_ptr<base::Bytes>(returned)); }};
}

void Slabs::give_back(std::unique_ptr<base::Bytes> slab) {
  {
    std::lock_guard lock(mutex_);
    free_.push_back(std::move(slab));
  }
  freed_.notify_one();
}

void Slabs::stop() {
  {
    std::lock_guard lock(mutex_);
    stopped_ = true;
  }
  freed_.notify_all();
}

std::span<uint8_t> Window::room(size_t most) {
  const size_t there = filled().size();
  const bool at_end = !slab_ || end_ == slab_->data() + Slabs::kSize;
  if (most > 0 && at_end && there < Slabs::kSize) {
    Slabs::Handle next = slabs_.take();
    if (there > 0) std::memcpy(next->data(), begin_, there);
    slab_ = std::move(next);
    begin_ = slab_->data();
    end_ = begin_ + there;
  }
  if (!slab_) return {};
  return {end_, std::min(most, static_cast<size_t>(slab_->data() + Slabs::kSize - end_))};
}

SlabPart Window::cut(size_t count) {
  DAVIT_CHECK(count <= filled().size());
  SlabPart part{slab_, {begin_, count}};
  begin_ += count;
  return part;
}

}  // namespace davit::archive
