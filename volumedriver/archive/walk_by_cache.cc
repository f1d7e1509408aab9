#include <sys/stat.h>

#include <algorithm>

#include "archive/walk_detail.h"
#include "base/errors.h"

namespace davit::archive {

namespace {

// Entries that are kept until a directory proves unchanged: beyond this its tree is made anew.
constexpr size_t kMaxPassedBytes = 16 << 20;
constexpr size_t kListedMisses = 100;

}  // namespace

void Walk::go_by_cache(Level& level) {
  if (kept_) level.kept_index = kept_->find(prior_.cache()->position());
  level.by_cache = level.has_prior = true;
  stages_.assembly.record(prior_.cache()->view().bytes);
  prior_.cache()->skip();
}

void Walk::begin_all() {
  Assembly::Directory* parent = nullptr;
  for (Level& level : levels_) {
    if (!level.directory) {
      level.directory = stages_.assembly.begin_directory(parent, std::move(level.node));
      level.passed.drain(level.device_id, [&](const repo::Node& node) {
        stages_.assembly.add(level.directory, node);
      });
    }
    parent = level.directory;
  }
}

void Walk::step_by_cache() {
  repo::ScanCacheReader& cache = *prior_.cache();
  switch (cache.peek()) {
    case Kind::leave:
      return leave_by_cache();
    case Kind::end:
      return list_rest();
    case Kind::open:
      if (cache.view().name.empty()) return list_rest();
      return look_anew(std::string(cache.view().name));
    case Kind::enter: {
      const std::string name(cache.view().name);
      const size_t path_size = path_.size();
      if (!path_.empty()) path_ += '/';
      path_ += name;
      if (enter_by_cache(name)) return;
      path_.resize(path_size);
      return look_anew(name);
    }
    case Kind::file:
    case Kind::other:
      break;
  }
  Level& level = levels_.back();
  level.last_name = cache.view().name;
  ++looked_at_;
  const auto status = try_status(descent_.here()->get(), level.last_name);
  if (!status || !is_same_entry(cache.view(), *status, level.device, stages_.repository.index()))
    return look_anew(level.last_name);
  record_same();
  if (cache.view().kind == Kind::file) stages_.assembly.count_unmodified(status->stx_size);
  if (level.directory) {
    stages_.assembly.add(level.directory, make_known_node(cache.view(), *status, level.device_id));
  } else {
    level.passed.add(cache.view(), *status);
    if (level.passed.size_bytes() > kMaxPassedBytes) begin_all();
  }
  cache.skip();
}

void Walk::record_same() {
  const repo::ScanView& view = prior_.cache()->view();
  if (view.kind != Kind::file || !options_.keeps_handles || view.stamp().handle != 0)
    return stages_.assembly.record(view.bytes);
  repo::ScanRecord record = view.record();
  record.handle = handle_of_file(record.name, 0);
  base::Bytes bytes;
  repo::append_record(bytes, record);
  stages_.assembly.record(bytes);
}

void Walk::look_anew(std::string name) {
  if (levels_.back().kept_index && options_.changed) note_missed(name);
  begin_all();
  levels_.back().last_name = name;
  const size_t depth = levels_.size();
  visit(name);
  if (levels_.size() != depth) return;
  repo::ScanCacheReader& cache = *prior_.cache();
  const Kind kind = cache.peek();
  if (kind != Kind::end && kind != Kind::leave && cache.view().name == name) cache.skip_entry();
}

void Walk::list_rest() {
  begin_all();
  Level& level = levels_.back();
  level.by_cache = false;
  try {
    level.names = list_names(descent_.here()->get());
  } catch (const base::IoError& error) {
    report_or_throw(error);
    record_open("");
  }
  level.next = static_cast<size_t>(
      std::upper_bound(level.names.begin(), level.names.end(), level.last_name) -
      level.names.begin());
}

bool Walk::enter_by_cache(const std::string& name) {
  ++looked_at_;
  base::Fd directory(base::open_directory_at(descent_.here()->get(), name.c_str()));
  if (!directory) return false;
  const Status status = get_status(directory.get());
  if (!is_same_inode(prior_.cache()->view().stamp(), status) ||
      (is_mount_root(status, levels_.back().device) && !is_subvolume(status)))
    return false;
  Level level;
  level.node = make_node(name, status, 0);
  std::vector<std::string> problems;
  level.node.xattrs = read_xattrs(directory.get(), problems);
  if (!problems.empty()) return false;
  levels_.back().last_name = name;
  if (pass_subtree(level.node)) {
    path_.resize(levels_.back().path_size);
    return true;
  }
  go_by_cache(level);
  go_down(std::move(level), name, std::move(directory), status);
  return true;
}

bool Walk::find_by_cache(const std::string& name) {
  const Level& level = levels_.back();
  repo::ScanCacheReader* const cache = prior_.cache();
  return !level.by_cache && level.has_prior && cache && cache->find_directory(name) &&
         enter_by_cache(name);
}

void Walk::leave_by_cache() {
  repo::ScanCacheReader& cache = *prior_.cache();
  const base::Id tree = cache.view().tree();
  Level& level = levels_.back();
  if (level.directory || !stages_.repository.index().contains(repo::BlobType::tree, tree)) {
    begin_all();
    return leave();
  }
  stages_.assembly.record(cache.view().bytes);
  stages_.assembly.count_unmodified_directory();
  cache.skip();
  repo::Node node = std::move(level.node);
  node.subtree = tree;
  levels_.pop_back();
  add_known(std::move(node));
  if (!levels_.empty()) go_up();
}

bool Walk::pass_subtree(repo::Node& node) {
  if (!kept_ || options_.verifies_changed) return false;
  repo::ScanCacheReader& cache = *prior_.cache();
  const auto index = kept_->find(cache.position());
  if (!index) return false;
  const auto& directory = kept_->directory(*index);
  if (!stages_.repository.index().contains(repo::BlobType::tree, directory.tree)) return false;
  stages_.assembly.keep_subtree(kept_->scan(), *index);
  cache.seek_behind(kept_->scan()->outline, *index);
  node.subtree = directory.tree;
  add_known(std::move(node));
  return true;
}

void Walk::note_missed(const std::string& name) {
  Result& result = stages_.assembly.result();
  if (result.missed.size() >= kListedMisses) return;
  repo::ScanCacheReader& cache = *prior_.cache();
  const Kind kind = cache.peek();
  const bool is_known = kind != Kind::end && kind != Kind::leave && kind != Kind::open;
  // chattr(1) moves the change time alone, and nobody tells of it; nothing else that is saved
  // changes.
  if (const auto status = try_status(descent_.here()->get(), name); status && is_known) {
    const repo::ScanStamp stamp = cache.view().stamp();
    if (stamp.inode == status->stx_ino && stamp.mtime == mtime_of(*status) &&
        (kind != Kind::file || stamp.size_bytes == status->stx_size))
      return;
  }
  result.missed.push_back({path_.empty() ? name : path_ + "/" + name,
                           kept_->directory(*levels_.back().kept_index).handle,
                           is_known ? cache.view().stamp().handle : 0});
}

void Walk::add_known(repo::Node node) {
  if (levels_.empty()) return stages_.assembly.set_root(std::move(node));
  Level& parent = levels_.back();
  if (parent.directory) {
    stages_.assembly.add(parent.directory, node);
  } else {
    parent.passed.add_directory(std::move(node));
    if (parent.passed.size_bytes() > kMaxPassedBytes) begin_all();
  }
}

}  // namespace davit::archive
