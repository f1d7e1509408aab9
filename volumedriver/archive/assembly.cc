#include "archive/assembly.h"

#include "base/errors.h"

namespace davit::archive {

namespace {

constexpr size_t kListedProblems = 100;

repo::ScanRecord record_of(const repo::Node& node, bool trusted, uint64_t handle) {
  repo::ScanRecord record;
  record.name = node.name;
  record.trusted = trusted;
  record.inode = node.inode;
  record.size_bytes = node.size;
  record.mtime = node.mtime;
  record.ctime = node.ctime;
  record.handle = handle;
  record.xattrs = node.xattrs;
  record.content = node.content;
  return record;
}

}  // namespace

uint64_t OrderedRecords::reserve() {
  if (!writer_) return 0;
  std::lock_guard lock(mutex_);
  waiting_.emplace_back();
  return first_ + waiting_.size() - 1;
}

void OrderedRecords::fill(uint64_t place, base::Bytes records) {
  if (!writer_) return;
  std::lock_guard lock(mutex_);
  Records& waiting = waiting_[place - first_];
  waiting.are_there = true;
  waiting.bytes = std::move(records);
  drain();
}

void OrderedRecords::append(base::ByteView records) {
  if (!writer_) return;
  std::lock_guard lock(mutex_);
  if (waiting_.empty()) {
    writer_->write(records);
    ++first_;
  } else {
    waiting_.push_back({true, base::to_bytes(records), nullptr, 0});
  }
}

void OrderedRecords::append(std::shared_ptr<const repo::KeptScan> scan, size_t directory) {
  if (!writer_) return;
  std::lock_guard lock(mutex_);
  if (waiting_.empty()) {
    writer_->copy(*scan, directory);
    ++first_;
  } else {
    waiting_.push_back({true, {}, std::move(scan), directory});
  }
}

void OrderedRecords::drain() {
  while (!waiting_.empty() && waiting_.front().are_there) {
    const Records& records = waiting_.front();
    if (records.scan)
      writer_->copy(*records.scan, records.directory);
    else
      writer_->write(records.bytes);
    waiting_.pop_front();
    ++first_;
  }
}

// Constant after begin_directory: parent, place, node, self. Guarded by mutex: the rest but `open`.
struct Assembly::Directory {
  Directory* parent = nullptr;
  uint64_t slot_in_parent = 0;
  repo::Node node;
  std::list<Directory>::iterator self;

  struct Slot {
    bool filled = false;
    std::optional<repo::Node> node;
  };
  std::mutex mutex;
  uint64_t first = 0;  // the number of slots.front()
  std::deque<Slot> slots;
  repo::TreeEncoder encoder;

  // Entries that have not arrived, and one for the walk. Who brings it to 0 saves the directory.
  std::atomic<uint64_t> open{1};
  // Set by the walk before it gives up its share.
  std::optional<base::Id> prior;
  uint64_t leave_record = 0;
};

Assembly::Assembly(repo::UploadSession& session, repo::ScanCacheWriter* writer,
                   base::Progress* progress)
    : session_(session), progress_(progress), records_(writer) {}

Assembly::~Assembly() = default;

void Assembly::record(base::ByteView records) {
  records_.append(records);
}

Assembly::Directory* Assembly::begin_directory(Directory* parent, repo::Node node) {
  Directory* directory;
  {
    std::lock_guard lock(mutex_);
    directories_.emplace_front();
    directory = &directories_.front();
    directory->self = directories_.begin();
  }
  directory->parent = parent;
  directory->node = std::move(node);
  if (parent) {
    parent->open.fetch_add(1, std::memory_order_relaxed);
    std::lock_guard lock(parent->mutex);
    parent->slots.emplace_back();
    directory->slot_in_parent = parent->first + parent->slots.size() - 1;
  }
  return directory;
}

void Assembly::end_directory(Directory* directory, std::optional<base::Id> prior) {
  directory->prior = prior;
  directory->leave_record = records_.reserve();
  release(directory);
}

void Assembly::add(Directory* directory, const repo::Node& node) {
  std::lock_guard lock(directory->mutex);
  if (directory->slots.empty()) {
    directory->encoder.add(node);
    ++directory->first;
  } else {
    directory->slots.push_back({true, node});
  }
}

void Assembly::count_unmodified(uint64_t size_bytes) {
  add_progress(size_bytes);
  count_file(size_bytes, &Result::files_unmodified);
}

void Assembly::count_unmodified_directory() {
  std::lock_guard lock(mutex_);
  ++result_.dirs_unmodified;
}

void Assembly::keep_subtree(std::shared_ptr<const repo::KeptScan> scan, size_t directory) {
  const repo::ScanOutline::Directory kept = scan->outline.directories[directory];
  records_.append(std::move(scan), directory);
  add_progress(kept.bytes);
  if (progress_) progress_->files_done.fetch_add(kept.files, std::memory_order_relaxed);
  std::lock_guard lock(mutex_);
  result_.dirs_unmodified += kept.next - directory;
  result_.files_unmodified += kept.files;
  result_.total_files += kept.files;
  result_.total_bytes += kept.bytes;
}

void Assembly::set_root(repo::Node node) {
  std::lock_guard lock(mutex_);
  root_ = std::move(node);
}

Assembly::Place Assembly::reserve(Directory* directory) {
  Place place{directory, 0, records_.reserve()};
  directory->open.fetch_add(1, std::memory_order_relaxed);
  std::lock_guard lock(directory->mutex);
  directory->slots.emplace_back();
  place.slot = directory->first + directory->slots.size() - 1;
  return place;
}

void Assembly::fill(const Place& place, repo::Node node, bool trusted, bool had_prior) {
  base::Bytes record;
  if (records_.enabled()) repo::append_record(record, record_of(node, trusted, place.handle));
  count_file(node.size, had_prior ? &Result::files_changed : &Result::files_new);
  records_.fill(place.record, std::move(record));
  put(*place.directory, place.slot, std::move(node));
  release(place.directory);
}

void Assembly::leave_out(const Place& place, const std::string& name) {
  base::Bytes record;
  if (records_.enabled()) repo::append_open(record, name);
  records_.fill(place.record, std::move(record));
  put(*place.directory, place.slot, std::nullopt);
  release(place.directory);
}

void Assembly::put(Directory& directory, uint64_t slot, std::optional<repo::Node> node) {
  std::lock_guard lock(directory.mutex);
  Directory::Slot& target = directory.slots[slot - directory.first];
  target.filled = true;
  target.node = std::move(node);
  while (!directory.slots.empty() && directory.slots.front().filled) {
    if (directory.slots.front().node) directory.encoder.add(*directory.slots.front().node);
    directory.slots.pop_front();
    ++directory.first;
  }
}

void Assembly::release(Directory* directory) {
  // Upward as long as this was the last entry that was missing.
  while (directory && directory->open.fetch_sub(1, std::memory_order_acq_rel) == 1) {
    repo::Node node = save(*directory);
    Directory* parent = directory->parent;
    if (parent) {
      put(*parent, directory->slot_in_parent, std::move(node));
    }
    std::lock_guard lock(mutex_);
    if (!parent) root_ = std::move(node);
    directories_.erase(directory->self);
    directory = parent;
  }
}

repo::Node Assembly::save(Directory& directory) {
  repo::Node node = std::move(directory.node);
  base::Bytes bytes;
  {
    std::lock_guard lock(directory.mutex);
    bytes = directory.encoder.finish();
  }
  node.subtree = session_.save_blob(repo::BlobType::tree, bytes).id;
  if (records_.enabled()) {
    base::Bytes record;
    repo::append_leave(record, *node.subtree);
    records_.fill(directory.leave_record, std::move(record));
  }
  std::lock_guard lock(mutex_);
  if (!directory.prior)
    ++result_.dirs_new;
  else if (*directory.prior == *node.subtree)
    ++result_.dirs_unmodified;
  else
    ++result_.dirs_changed;
  return node;
}

void Assembly::count_file(uint64_t size_bytes, uint64_t Result::*kind) {
  if (progress_) progress_->files_done.fetch_add(1, std::memory_order_relaxed);
  std::lock_guard lock(mutex_);
  ++(result_.*kind);
  ++result_.total_files;
  result_.total_bytes += size_bytes;
}

void Assembly::add_progress(uint64_t bytes) {
  if (progress_) progress_->bytes_done.fetch_add(bytes, std::memory_order_relaxed);
}

void Assembly::report_unreadable(std::string path, std::string reason) {
  if (progress_) progress_->errors.fetch_add(1, std::memory_order_relaxed);
  std::lock_guard lock(mutex_);
  ++result_.unreadable_count;
  if (result_.unreadable.size() < kListedProblems)
    result_.unreadable.push_back({std::move(path), std::move(reason)});
}

void Assembly::report_changed(std::string path, std::string reason) {
  std::lock_guard lock(mutex_);
  ++result_.changed_while_read_count;
  if (result_.changed_while_read.size() < kListedProblems)
    result_.changed_while_read.push_back({std::move(path), std::move(reason)});
}

const repo::Node& Assembly::root() const {
  DAVIT_CHECK(root_.has_value());
  return *root_;
}

}  // namespace davit::archive
