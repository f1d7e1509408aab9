#include "volumes/mounts.h"

namespace davit::volumes {

void Mounts::mounted(const std::string& uuid, const std::string& id) {
  std::lock_guard lock(mutex_);
  forget_old();
  mounts_[{uuid, id}] = clock_.now();
}

void Mounts::unmounted(const std::string& uuid, const std::string& id) {
  std::lock_guard lock(mutex_);
  mounts_.erase({uuid, id});
}

bool Mounts::is_fresh(const std::string& uuid) {
  std::lock_guard lock(mutex_);
  forget_old();
  const auto first = mounts_.lower_bound({uuid, ""});
  return first != mounts_.end() && first->first.first == uuid;
}

void Mounts::forget_old() {
  const base::Time now = clock_.now();
  std::erase_if(mounts_, [&](const auto& mount) {
    // What lies far ahead was noted before the clock was set back.
    return mount.second > now + kStarting || now > mount.second + kStarting;
  });
}

}  // namespace davit::volumes
