#include "restore/stamps.h"

#include <unistd.h>

#include <cerrno>
#include <utility>

#include "base/errors.h"
#include "base/mapped_file.h"

namespace davit::restore {

namespace {
constexpr uint64_t kGroup = 1024;
}

Stamps::Stamps(const std::string& directory) : file_(base::make_unnamed_file(directory)) {}

void Stamps::take(uint64_t number, int fd) {
  struct stat status;
  if (::fstat(fd, &status) != 0) return pass_over(number);
  set(number, {.inode = status.st_ino,
               .size_bytes = static_cast<uint64_t>(status.st_size),
               .mtime_seconds = status.st_mtim.tv_sec,
               .ctime_seconds = status.st_ctim.tv_sec,
               .mtime_nanoseconds = static_cast<uint32_t>(status.st_mtim.tv_nsec),
               .ctime_nanoseconds = static_cast<uint32_t>(status.st_ctim.tv_nsec)});
}

void Stamps::pass_over(uint64_t number) {
  set(number, {});
}

void Stamps::set(uint64_t number, const Stamp& stamp) {
  const uint64_t group_number = number / kGroup;
  std::vector<Stamp> complete;
  {
    const std::lock_guard lock(mutex_);
    const auto [place, is_new] = groups_.try_emplace(group_number);
    Group& group = place->second;
    if (is_new) {
      group.stamps.resize(kGroup);
      group.left = kGroup;
    }
    group.stamps[number % kGroup] = stamp;
    if (--group.left > 0) return;
    complete = std::move(group.stamps);
    groups_.erase(place);
  }
  base::pwrite_all(
      file_.get(),
      {reinterpret_cast<const uint8_t*>(complete.data()), complete.size() * sizeof(Stamp)},
      group_number * kGroup * sizeof(Stamp));
}

std::optional<repo::ScanStamp> Stamps::find(uint64_t number) {
  const uint64_t group_number = number / kGroup;
  if (found_number_ != group_number) {
    found_number_ = group_number;
    // The last group never became complete.
    if (const auto place = groups_.find(group_number); place != groups_.end()) {
      found_ = std::move(place->second);
      groups_.erase(place);
    } else {
      found_.stamps.resize(kGroup);
      const size_t size_bytes = kGroup * sizeof(Stamp);
      const ssize_t got = ::pread(file_.get(), found_.stamps.data(), size_bytes,
                                  static_cast<off_t>(group_number * size_bytes));
      if (got != static_cast<ssize_t>(size_bytes))
        base::throw_errno("cannot read what is known of the restored files", got < 0 ? errno : EIO);
    }
  }
  const Stamp& stamp = found_.stamps[number % kGroup];
  if (stamp.inode == 0) return std::nullopt;
  repo::ScanStamp known;
  known.trusted = true;
  known.inode = stamp.inode;
  known.size_bytes = stamp.size_bytes;
  known.mtime = {stamp.mtime_seconds, stamp.mtime_nanoseconds};
  known.ctime = {stamp.ctime_seconds, stamp.ctime_nanoseconds};
  return known;
}

}  // namespace davit::restore
