#include "archive/links.h"

#include "base/errors.h"

namespace davit::archive {

bool LinkTable::begin(FileJob& job, uint64_t links) {
  std::unique_lock lock(mutex_);
  const auto [entry, is_new] = files_.try_emplace({job.device, job.inode});
  File& file = entry->second;
  if (is_new) {
    job.is_link = true;
    file.names_left = links - 1;
    return true;
  }
  if (file.names_left > 0) --file.names_left;
  if (!file.read) {
    job.directory.reset();  // thousands may wait, but so many descriptors may not
    file.waiting.push_back(std::move(job));
    return false;
  }
  repo::Node read = *file.read;
  const bool trusted = file.trusted;
  const uint64_t handle = file.handle;
  if (file.names_left == 0) files_.erase(entry);
  lock.unlock();
  deliver(job, std::move(read), trusted, handle);
  return false;
}

std::optional<FileJob> LinkTable::finish(const FileJob& job, const std::optional<repo::Node>& read,
                                         bool trusted) {
  std::vector<FileJob> waiting;
  {
    std::lock_guard lock(mutex_);
    const auto entry = files_.find({job.device, job.inode});
    DAVIT_CHECK(entry != files_.end());
    File& file = entry->second;
    if (!read) {
      if (file.waiting.empty()) {
        files_.erase(entry);
        return std::nullopt;
      }
      FileJob next = std::move(file.waiting.back());
      file.waiting.pop_back();
      next.is_link = true;
      return next;
    }
    file.read = read;
    file.trusted = trusted;
    file.handle = job.place.handle;
    waiting.swap(file.waiting);
    if (file.names_left == 0) files_.erase(entry);
  }
  for (const FileJob& one : waiting) deliver(one, *read, trusted, job.place.handle);
  return std::nullopt;
}

void LinkTable::deliver(const FileJob& job, repo::Node read, bool trusted, uint64_t handle) {
  // One inode: what was read under its first name is true of this one.
  read.name = job.name;
  Assembly::Place place = job.place;
  place.handle = handle;
  assembly_.add_progress(read.size);
  assembly_.fill(place, std::move(read), trusted, job.had_prior);
}

}  // namespace davit::archive
