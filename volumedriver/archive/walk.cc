#include "archive/walk.h"

#include <dirent.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/errors.h"
#include "crypto/sha256.h"

namespace davit::archive {

namespace {

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

// So many files go to the readers at once: waking one for each would cost more than reading it.
// They go earlier once the walk has looked at so many entries since the first of them, as what
// comes behind it waits in memory.
constexpr size_t kFilesInBatch = 32;
constexpr size_t kEntriesInBatch = 512;

class Walk {
 public:
  Walk(Stages& stages, const Source& source, const Excludes& excludes, Prior& prior)
      : stages_(stages),
        source_(source),
        excludes_(excludes),
        prior_(prior),
        descent_(stages.root) {}

  void run() {
    const Status status = get_status(stages_.root->get());
    root_device_ = device_of(status);
    enter_root(status);
    while (!levels_.empty()) {
      stages_.check_stop();
      Level& level = levels_.back();
      if (level.next == level.names.size()) {
        leave();
        continue;
      }
      visit(level.names[level.next++]);
      if (!batch_.empty() && ++entries_since_ >= kEntriesInBatch) send_batch();
    }
    send_batch();
  }

 private:
  struct Level {
    Assembly::Directory* directory = nullptr;
    std::vector<std::string> names;
    size_t next = 0;
    bool has_prior = false;
    size_t path_size = 0;    // of the directory's own path in path_
    uint64_t device = 0;     // st_dev
    uint64_t device_id = 0;  // what hard links in it get
  };

  void enter_root(const Status& status) {
    repo::Node node = make_node("root", status, 0);
    std::vector<std::string> problems;
    node.xattrs = read_xattrs(stages_.root->get(), problems);
    for (std::string& problem : problems) report(std::move(problem));
    Level level;
    level.device = root_device_;
    level.device_id = source_.device ? source_.device : root_device_;
    level.names = list_names(stages_.root->get());
    level.has_prior = prior_.enter("");
    level.directory = stages_.assembly.begin_directory(nullptr, std::move(node));
    levels_.push_back(std::move(level));
  }

  void leave() {
    Level& level = levels_.back();
    std::optional<base::Id> prior;
    if (level.has_prior) prior = prior_.leave();
    stages_.assembly.end_directory(level.directory, prior);
    levels_.pop_back();
    if (levels_.empty()) return;
    path_.resize(levels_.back().path_size);
    Level& parent = levels_.back();
    if (!descent_.leave() && parent.next < parent.names.size()) {
      report("it was moved away while it was read");
      parent.next = parent.names.size();
    }
  }

  void visit(const std::string& name) {
    const size_t path_size = path_.size();
    if (!path_.empty()) path_ += '/';
    path_ += name;
    if (excludes_.empty() || !excludes_.matches(path_)) {
      try {
        if (save(name)) return;  // it went down; leave() restores the path
      } catch (const base::IoError& error) {
        const int number = error.number();
        if (number == 0 || number == EMFILE || number == ENFILE || number == ENOMEM) throw;
        // It vanished while it was looked at: a directory may also do so when it is open.
        if (number != ENOENT) report(error.what());
      }
    }
    path_.resize(path_size);
  }

  // True when the entry is a directory that is now the current one.
  bool save(const std::string& name) {
    const Level& level = levels_.back();
    const int here = descent_.here()->get();
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
        return enter(name);
      case repo::NodeType::file:
        save_file(name, *status);
        return false;
      default:
        save_special(name, *status);
        return false;
    }
  }

  // Kernels that cannot tell mounts show a subvolume as another device; its root always has inode
  // 256.
  static bool is_subvolume(const Status& status) {
    return !(status.stx_attributes_mask & STATX_ATTR_MOUNT_ROOT) && status.stx_ino == 256;
  }

  void save_mount_point(const std::string& name, const Status& status) {
    repo::Node node = make_node(name, status, 0);
    if (node.type == repo::NodeType::dir) {
      stages_.assembly.end_directory(
          stages_.assembly.begin_directory(levels_.back().directory, std::move(node)), {});
    } else if (node.type == repo::NodeType::file) {
      node.size = 0;
      node.links = 1;
      stages_.assembly.add(levels_.back().directory, node);
    }
  }

  bool enter(const std::string& name) {
    base::Fd directory(base::open_directory_at(descent_.here()->get(), name.c_str()));
    if (!directory) {
      const int number = errno;
      if (number == ENOENT) return false;
      base::throw_errno("cannot open the directory", number);
    }
    const Status status = get_status(directory.get());
    repo::Node node = make_node(name, status, 0);
    std::vector<std::string> problems;
    node.xattrs = read_xattrs(directory.get(), problems);
    for (std::string& problem : problems) report(std::move(problem));

    Level level;
    level.names = list_names(directory.get());
    level.path_size = path_.size();
    level.device = device_of(status);
    level.device_id = levels_.back().device_id;
    if (level.device != levels_.back().device) level.device_id = subvolume_id();
    level.has_prior = levels_.back().has_prior && prior_.enter(name);
    level.directory = stages_.assembly.begin_directory(levels_.back().directory, std::move(node));
    levels_.push_back(std::move(level));
    descent_.enter(name, std::move(directory));
    return true;
  }

  // Inode numbers are unique in a subvolume only, so hard links in one must not meet those of
  // another. A number that a reboot or a snapshot does not change: of its place in the tree.
  uint64_t subvolume_id() const {
    const base::Id id = crypto::sha256(base::as_bytes(path_));
    return (base::load_le64(id.bytes.data()) >> 1) | 1;
  }

  void save_file(const std::string& name, const Status& status) {
    const Level& level = levels_.back();
    std::optional<repo::ScanRecord> known;
    if (level.has_prior) known = prior_.find(name);
    if (known && is_unmodified(*known, status)) {
      repo::Node node = make_node(name, status, level.device_id);
      node.xattrs = known->xattrs;
      node.content = known->content;
      stages_.assembly.add_unmodified(level.directory, std::move(node), *known);
      return;
    }
    FileJob job;
    job.place = stages_.assembly.reserve(level.directory);
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

  void send_batch() {
    entries_since_ = 0;
    if (batch_.empty()) return;
    if (!stages_.files.push(std::exchange(batch_, {}))) throw base::Cancelled();
  }

  bool is_unmodified(const repo::ScanRecord& known, const Status& status) const {
    return known.trusted && known.size_bytes == status.stx_size && known.inode == status.stx_ino &&
           known.mtime == mtime_of(status) && known.ctime == ctime_of(status) &&
           std::all_of(known.content.begin(), known.content.end(), [&](const base::Id& id) {
             return stages_.repository.index().contains(repo::BlobType::data, id);
           });
  }

  void save_special(const std::string& name, const Status& status) {
    repo::Node node = make_node(name, status, levels_.back().device_id);
    const int here = descent_.here()->get();
    if (node.type == repo::NodeType::symlink) {
      auto target = find_link_target(here, name);
      if (!target) return;  // replaced meanwhile: as if it had vanished
      node.linktarget = std::move(*target);
    }
    std::vector<std::string> problems;
    node.xattrs = read_xattrs(here, name, problems);
    for (std::string& problem : problems) report(std::move(problem));
    stages_.assembly.add(levels_.back().directory, node);
  }

  void report(std::string reason) {
    stages_.assembly.report_unreadable(path_.empty() ? "." : path_, std::move(reason));
  }

  Stages& stages_;
  const Source& source_;
  const Excludes& excludes_;
  Prior& prior_;
  base::Descent descent_;
  std::vector<Level> levels_;
  std::vector<FileJob> batch_;  // to be read
  size_t entries_since_ = 0;    // looked at since the first of them
  std::string path_;            // of the entry that is looked at, relative to the root
  uint64_t root_device_ = 0;
};

}  // namespace

void walk_tree(Stages& stages, const Source& source, const Excludes& excludes, Prior& prior) {
  Walk(stages, source, excludes, prior).run();
}

}  // namespace davit::archive
