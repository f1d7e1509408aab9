#include <dirent.h>
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "archive/walk_detail.h"
#include "base/errors.h"
#include "capture/file_handle.h"
#include "capture/write_lease.h"
#include "crypto/sha256.h"

namespace davit::archive {

namespace {

// So many files go to the readers at once: waking one for each would cost more than reading it.
// They go earlier once the walk has looked at so many entries since the first of them, as what
// comes behind it waits in memory.
constexpr size_t kFilesInBatch = 32;
constexpr size_t kEntriesInBatch = 512;

repo::ScanStamp make_stamp(const repo::Node& node, bool trusted, uint64_t handle) {
  return {trusted, node.inode, node.size, node.mtime, node.ctime, handle};
}

}  // namespace

// The names in a directory, sorted. Throws IoError.
std::vector<std::string> list_names(int directory) {
  struct Entry {  // as getdents64(2) writes it
    uint64_t inode;
    int64_t offset;
    uint16_t size;
    uint8_t type;
    char name[];
  };
  std::vector<std::string> names;
  alignas(Entry) char buffer[32 << 10];
  for (;;) {
    const long got = ::syscall(SYS_getdents64, directory, buffer, sizeof buffer);
    if (got < 0) base::throw_errno("cannot read the directory", errno);
    if (got == 0) break;
    for (long at = 0; at < got;) {
      const Entry* entry = reinterpret_cast<const Entry*>(buffer + at);
      const std::string_view name = entry->name;
      if (name != "." && name != "..") names.emplace_back(name);
      at += entry->size;
    }
  }
  std::sort(names.begin(), names.end());
  // A directory that changes while it is listed may give a name twice.
  names.erase(std::unique(names.begin(), names.end()), names.end());
  return names;
}

void Walk::run() {
  const Status status = get_status(stages_.root->get());
  root_device_ = device_of(status);
  enter_root(status);
  while (!levels_.empty()) {
    stages_.check_stop();
    Level& level = levels_.back();
    if (level.by_cache) {
      step_by_cache();
    } else if (level.next == level.names.size()) {
      leave();
    } else {
      visit(level.names[level.next++]);
    }
    if (!batch_.empty() && ++entries_since_ >= kEntriesInBatch) send_batch();
  }
  send_batch();
  stages_.assembly.result().looked_at = looked_at_;
}

uint64_t Walk::handle_of(int fd) const {
  return options_.keeps_handles ? capture::find_handle(fd) : 0;
}

uint64_t Walk::handle_of(const std::string& name) {
  return options_.keeps_handles ? capture::find_handle(descent_.here()->get(), name.c_str()) : 0;
}

uint64_t Walk::handle_of_file(const std::string& name, uint64_t known) {
  const uint64_t handle = handle_of(name);
  if (handle == 0 || handle == known) return handle;
  const base::Fd file(
      ::openat(descent_.here()->get(), name.c_str(),
               O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_NOATIME | O_CLOEXEC));
  return file && !capture::may_be_written(file.get()) ? handle : 0;
}

void Walk::enter_root(const Status& status) {
  Level level;
  ++looked_at_;
  level.node = make_node("root", status, 0);
  std::vector<std::string> problems;
  level.node.xattrs = read_xattrs(stages_.root->get(), problems);
  level.device = root_device_;
  level.device_id = source_.device ? source_.device : root_device_;
  repo::ScanCacheReader* const cache = prior_.cache();
  if (cache && cache->peek() == Kind::enter && problems.empty() &&
      is_same_inode(cache->view().stamp(), status)) {
    if (pass_subtree(level.node)) return;
    go_by_cache(level);
    levels_.push_back(std::move(level));
    return;
  }
  for (std::string& problem : problems) report(std::move(problem));
  record_enter("", make_stamp(level.node, problems.empty() && stages_.is_settled(level.node),
                              handle_of(stages_.root->get())));
  level.names = list_names(stages_.root->get());
  level.has_prior = prior_.enter("");
  levels_.push_back(std::move(level));
  begin_all();
}

bool Walk::has_blob(const base::Id& id) const {
  return stages_.repository.index().contains(repo::BlobType::data, id);
}

void Walk::go_down(Level level, const std::string& name, base::Fd directory, const Status& status) {
  level.path_size = path_.size();
  level.device = device_of(status);
  level.device_id = levels_.back().device_id;
  if (level.device != levels_.back().device) {
    level.device_id = subvolume_id();
    stages_.assembly.result().holds_subvolumes = true;
  }
  levels_.push_back(std::move(level));
  descent_.enter(name, std::move(directory));
}

void Walk::leave() {
  Level& level = levels_.back();
  std::optional<base::Id> prior;
  if (level.has_prior) prior = prior_.leave();
  stages_.assembly.end_directory(level.directory, prior);
  levels_.pop_back();
  if (!levels_.empty()) go_up();
}

void Walk::go_up() {
  Level& parent = levels_.back();
  path_.resize(parent.path_size);
  if (descent_.leave()) return;
  if (!parent.by_cache && parent.next == parent.names.size()) return;
  report("it was moved away while it was read");
  begin_all();
  parent.by_cache = false;
  parent.next = parent.names.size();
  record_open("");
}

void Walk::record_enter(const std::string& name, const repo::ScanStamp& stamp) {
  if (!stages_.assembly.keeps_records()) return;
  base::Bytes record;
  repo::append_enter(record, name, stamp);
  stages_.assembly.record(record);
}

void Walk::record_open(const std::string& name) {
  if (!stages_.assembly.keeps_records()) return;
  base::Bytes record;
  repo::append_open(record, name);
  stages_.assembly.record(record);
}

void Walk::report_or_throw(const base::IoError& error) {
  const int number = error.number();
  if (number == 0 || number == EMFILE || number == ENFILE || number == ENOMEM) throw error;
  // It vanished while it was looked at: a directory may also do so when it is open.
  if (number != ENOENT) report(error.what());
}

void Walk::visit(const std::string& name) {
  const size_t path_size = path_.size();
  if (!path_.empty()) path_ += '/';
  path_ += name;
  const Excludes& excludes = options_.excludes;
  if (excludes.empty() || !excludes.matches(path_)) {
    try {
      if (save(name)) return;  // it went down; leave() restores the path
    } catch (const base::IoError& error) {
      report_or_throw(error);
      record_open(name);
    }
  }
  path_.resize(path_size);
}

bool Walk::save(const std::string& name) {
  const Level& level = levels_.back();
  const int here = descent_.here()->get();
  ++looked_at_;
  const auto status = find_status(here, name);
  if (!status) return false;
  const auto type = repo::node_type(status->stx_mode);
  if (!type || *type == repo::NodeType::socket) return false;
  if (is_mount_root(*status, level.device) && !is_subvolume(*status)) {
    save_mount_point(name, *status);
    return false;
  }
  switch (*type) {
    case repo::NodeType::dir:
      return find_by_cache(name) || enter(name);
    case repo::NodeType::file:
      save_file(name, *status);
      return false;
    default:
      save_special(name, *status);
      return false;
  }
}

void Walk::save_mount_point(const std::string& name, const Status& status) {
  repo::Node node = make_node(name, status, 0);
  if (node.type == repo::NodeType::dir) {
    record_enter(name, {});
    stages_.assembly.end_directory(
        stages_.assembly.begin_directory(levels_.back().directory, std::move(node)), {});
  } else if (node.type == repo::NodeType::file) {
    node.size = 0;
    node.links = 1;
    record_open(name);
    stages_.assembly.add(levels_.back().directory, node);
  }
}

bool Walk::enter(const std::string& name) {
  base::Fd directory(base::open_directory_at(descent_.here()->get(), name.c_str()));
  if (!directory) {
    const int number = errno;
    if (number == ENOENT) return false;
    base::throw_errno("cannot open the directory", number);
  }
  const Status status = get_status(directory.get());
  Level level;
  level.node = make_node(name, status, 0);
  std::vector<std::string> problems;
  level.node.xattrs = read_xattrs(directory.get(), problems);
  for (std::string& problem : problems) report(std::move(problem));
  level.names = list_names(directory.get());
  level.has_prior = levels_.back().has_prior && prior_.enter(name);
  record_enter(name, make_stamp(level.node, problems.empty() && stages_.is_settled(level.node),
                                handle_of(directory.get())));
  go_down(std::move(level), name, std::move(directory), status);
  begin_all();
  return true;
}

uint64_t Walk::subvolume_id() const {
  const base::Id id = crypto::sha256(base::as_bytes(path_));
  return (base::load_le64(id.bytes.data()) >> 1) | 1;
}

void Walk::save_file(const std::string& name, const Status& status) {
  const Level& level = levels_.back();
  Assembly& assembly = stages_.assembly;
  std::optional<repo::ScanRecord> known;
  if (level.has_prior) known = prior_.find(name);
  if (known && is_unmodified(*known, status)) {
    repo::Node node = make_node(name, status, level.device_id);
    node.xattrs = known->xattrs;
    node.content = known->content;
    if (assembly.keeps_records()) {
      known->handle = handle_of_file(name, known->handle);
      base::Bytes record;
      repo::append_record(record, *known);
      assembly.record(record);
    }
    assembly.count_unmodified(node.size);
    assembly.add(level.directory, node);
    return;
  }
  FileJob job;
  job.place = assembly.reserve(level.directory);
  job.place.handle = handle_of(name);
  job.directory = descent_.here();
  job.name = name;
  job.path = path_;
  job.device_id = level.device_id;
  job.had_prior = known.has_value();
  job.device = device_of(status);
  job.inode = status.stx_ino;
  if (status.stx_nlink > 1 && !stages_.links.begin(job, status.stx_nlink)) return;
  batch_.push_back(std::move(job));
  if (batch_.size() == kFilesInBatch) send_batch();
}

void Walk::send_batch() {
  entries_since_ = 0;
  if (batch_.empty()) return;
  if (!stages_.files.push(std::exchange(batch_, {}))) throw base::Cancelled();
}

bool Walk::is_unmodified(const repo::ScanRecord& known, const Status& status) const {
  return known.trusted && known.size_bytes == status.stx_size && known.inode == status.stx_ino &&
         known.mtime == mtime_of(status) && known.ctime == ctime_of(status) &&
         std::all_of(known.content.begin(), known.content.end(),
                     [&](const base::Id& id) { return has_blob(id); });
}

void Walk::save_special(const std::string& name, const Status& status) {
  repo::Node node = make_node(name, status, levels_.back().device_id);
  const int here = descent_.here()->get();
  if (node.type == repo::NodeType::symlink) {
    auto target = find_link_target(here, name);
    if (!target) return;  // replaced meanwhile: as if it had vanished
    node.linktarget = std::move(*target);
  }
  std::vector<std::string> problems;
  node.xattrs = read_xattrs(here, name, problems);
  if (stages_.assembly.keeps_records()) {
    repo::ScanRecord known;
    static_cast<repo::ScanStamp&>(known) =
        make_stamp(node, problems.empty() && stages_.is_settled(node), handle_of(name));
    known.name = name;
    known.xattrs = node.xattrs;
    known.linktarget = node.linktarget;
    base::Bytes record;
    repo::append_other(record, known);
    stages_.assembly.record(record);
  }
  for (std::string& problem : problems) report(std::move(problem));
  stages_.assembly.add(levels_.back().directory, node);
}

void Walk::report(std::string reason) {
  stages_.assembly.report_unreadable(path_.empty() ? "." : path_, std::move(reason));
}

void walk_tree(Stages& stages, const Source& source, const Options& options, Prior& prior,
               const KeptSubtrees* kept) {
  Walk(stages, source, options, prior, kept).run();
}

}  // namespace davit::archive
