#include "store/cache_files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "base/errors.h"
#include "base/files.h"
#include "base/log.h"

namespace davit::store {

namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

constexpr Kind kKinds[] = {Kind::index, Kind::snapshot, Kind::data};
constexpr auto kPause = 1min;        // after a failure
constexpr auto kTouchEvery = 10min;  // how well a restart knows what was used last
constexpr uint64_t kBlock = 4096;    // what a small file takes
constexpr const char* kUnfinished = "unfinished-";

uint64_t on_disk(uint64_t size_bytes) {
  return (size_bytes + kBlock - 1) / kBlock * kBlock;
}

int64_t now_ns() {
  return Clock::now().time_since_epoch().count();
}

}  // namespace

CacheFiles::CacheFiles(std::string directory, std::function<uint64_t()> max_bytes)
    : directory_(std::move(directory)), max_bytes_(std::move(max_bytes)) {
  try {
    base::make_directories(directory_);
    for (const std::string& name : base::list_directory(directory_))
      if (name.starts_with(kUnfinished)) ::unlink((directory_ + "/" + name).c_str());
    std::vector<std::pair<int64_t, Entry>> found;
    for (const Kind kind : kKinds) {
      base::make_directories(directory_ + "/" + kind_name(kind));
      look_for(kind, found);
    }
    std::sort(found.begin(), found.end(),
              [](const auto& a, const auto& b) { return a.first > b.first; });
    for (auto& [time, entry] : found) {
      entries_.push_back(std::move(entry));
      by_key_.emplace(entries_.back().key, std::prev(entries_.end()));
      size_bytes_ += entries_.back().size_bytes;
    }
    make_room(max_bytes_());
  } catch (const base::IoError& error) {
    cannot_write(error.what());
  }
}

void CacheFiles::look_for(Kind kind, std::vector<std::pair<int64_t, Entry>>& found) const {
  for (const std::string& name : base::list_directory(directory_ + "/" + kind_name(kind))) {
    const auto id = base::Id::parse(name);
    struct stat status;
    if (!id || ::stat(path_of({kind, *id}).c_str(), &status) != 0) continue;
    Entry entry{{kind, *id}, on_disk(static_cast<uint64_t>(status.st_size))};
    found.emplace_back(status.st_mtim.tv_sec, std::move(entry));
  }
}

std::string CacheFiles::path_of(const Key& key) const {
  return directory_ + "/" + kind_name(key.kind) + "/" + key.id.hex();
}

base::Fd CacheFiles::open(const Name& name) {
  bool touch = false;
  {
    std::lock_guard lock(mutex_);
    const auto found = by_key_.find({name.kind, name.id});
    if (found == by_key_.end()) return {};
    entries_.splice(entries_.begin(), entries_, found->second);
    Entry& entry = *found->second;
    if (Clock::now() - entry.touched > kTouchEvery) {
      entry.touched = Clock::now();
      touch = true;
    }
  }
  base::Fd file(::open(path_of({name.kind, name.id}).c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!file)
    drop(name);  // somebody took it away
  else if (touch)
    ::futimens(file.get(), nullptr);
  return file;
}

std::optional<base::Bytes> CacheFiles::find(const Name& name, uint64_t max_bytes) {
  const base::Fd file = open(name);
  if (!file) return std::nullopt;
  try {
    struct stat status;
    if (::fstat(file.get(), &status) != 0 || static_cast<uint64_t>(status.st_size) > max_bytes)
      return std::nullopt;
    base::Bytes bytes(static_cast<size_t>(status.st_size));
    bytes.resize(base::pread_up_to(file.get(), bytes, 0));
    return bytes;
  } catch (const base::IoError&) {
    drop(name);
    return std::nullopt;
  }
}

bool CacheFiles::read(const Name& name, uint64_t offset, std::span<uint8_t> out) {
  const base::Fd file = open(name);
  if (!file) return false;
  try {
    if (offset <= INT64_MAX && base::pread_up_to(file.get(), out, offset) == out.size())
      return true;
  } catch (const base::IoError&) {
  }
  drop(name);
  return false;
}

void CacheFiles::drop(const Name& name) {
  std::lock_guard lock(mutex_);
  const auto found = by_key_.find({name.kind, name.id});
  if (found != by_key_.end()) erase(found->second);
}

void CacheFiles::erase(Entries::iterator entry) {
  ::unlink(path_of(entry->key).c_str());
  size_bytes_ -= entry->size_bytes;
  by_key_.erase(entry->key);
  entries_.erase(entry);
}

bool CacheFiles::is_listed(const Name& name) const {
  std::lock_guard lock(mutex_);
  const auto found = by_key_.find({name.kind, name.id});
  return found != by_key_.end() && found->second->is_listed && !found->second->is_doubted;
}

void CacheFiles::doubt(Kind kind) {
  std::lock_guard lock(mutex_);
  for (Entry& entry : entries_)
    if (entry.key.kind == kind) entry.is_doubted = true;
}

bool CacheFiles::has_room_for(uint64_t size_bytes) const {
  return now_ns() >= not_before_ns_ && on_disk(size_bytes) <= max_bytes_();
}

void CacheFiles::make_room(uint64_t max_bytes) {
  while (size_bytes_ > max_bytes && !entries_.empty()) erase(std::prev(entries_.end()));
}

void CacheFiles::insert(const Name& name, uint64_t size_bytes) {
  const Key key{name.kind, name.id};
  if (const auto found = by_key_.find(key); found != by_key_.end()) {
    size_bytes_ -= found->second->size_bytes;  // the file has taken its place
    entries_.erase(found->second);
    by_key_.erase(found);
  }
  entries_.push_front({key, on_disk(size_bytes), false, false, Clock::now()});
  by_key_.emplace(key, entries_.begin());
  size_bytes_ += entries_.front().size_bytes;
  make_room(max_bytes_());
  is_told_ = false;
}

void CacheFiles::cannot_write(const char* what) {
  not_before_ns_ = (Clock::now() + kPause).time_since_epoch().count();
  std::lock_guard lock(mutex_);
  if (is_told_) return;
  is_told_ = true;
  spdlog::warn("nothing is kept in the cache {} for now: {}", directory_, what);
}

void CacheFiles::add(const Name& name, std::span<const base::ByteView> pieces) {
  uint64_t size_bytes = 0;
  for (const base::ByteView piece : pieces) size_bytes += piece.size();
  if (!has_room_for(size_bytes)) return;
  Copy copy(*this);
  for (const base::ByteView piece : pieces) copy.append(piece);
  copy.keep(name);
}

// ---- a copy under way

CacheFiles::Copy::Copy(CacheFiles& files) : files_(files) {
  if (!files_.has_room_for(0)) return;
  path_ = files_.directory_ + "/" + kUnfinished + std::to_string(++files_.copies_);
  try {
    file_ = base::open_file(path_, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0600);
  } catch (const base::IoError& error) {
    path_.clear();
    files_.cannot_write(error.what());
  }
}

CacheFiles::Copy::~Copy() {
  if (!path_.empty()) ::unlink(path_.c_str());
}

void CacheFiles::Copy::append(base::ByteView bytes) {
  if (!file_) return;
  try {
    base::write_all(file_.get(), bytes);
    size_bytes_ += bytes.size();
  } catch (const base::IoError& error) {
    file_.reset();
    files_.cannot_write(error.what());
  }
}

void CacheFiles::Copy::keep(const Name& name) {
  if (!file_ || !files_.has_room_for(size_bytes_)) return;
  file_.reset();
  bool is_kept = false;
  {
    std::lock_guard lock(files_.mutex_);
    is_kept = std::rename(path_.c_str(), files_.path_of({name.kind, name.id}).c_str()) == 0;
    if (is_kept) files_.insert(name, size_bytes_);
  }
  if (!is_kept) return files_.cannot_write("a file cannot be given its name");
  path_.clear();
}

// ---- a list under way

CacheFiles::Census::Census(CacheFiles& files, Kind kind) : files_(files), kind_(kind) {
  {
    std::lock_guard lock(files_.mutex_);
    for (const Entry& entry : files_.entries_)
      if (entry.key.kind == kind_) ids_.push_back(entry.key.id);
  }
  std::sort(ids_.begin(), ids_.end());
  seen_.resize(ids_.size());
}

void CacheFiles::Census::see(const base::Id& id) {
  const auto found = std::lower_bound(ids_.begin(), ids_.end(), id);
  if (found != ids_.end() && *found == id) seen_[static_cast<size_t>(found - ids_.begin())] = true;
}

void CacheFiles::Census::finish() {
  std::lock_guard lock(files_.mutex_);
  for (size_t i = 0; i < ids_.size(); ++i) {
    const auto found = files_.by_key_.find({kind_, ids_[i]});
    if (found == files_.by_key_.end()) continue;
    if (seen_[i])
      found->second->is_listed = true;
    else
      files_.erase(found->second);
  }
  files_.make_room(files_.max_bytes_());
}

}  // namespace davit::store
