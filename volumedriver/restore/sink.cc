#include "restore/sink.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "base/errors.h"
#include "restore/metadata.h"

namespace davit::restore {

namespace {

constexpr size_t kListedProblems = 100;

// What a failed call that makes `name` means.
[[noreturn]] void throw_making(const std::string& name, int number) {
  if (number == EEXIST)
    throw base::Conflict(name + " cannot be restored: there is something of that name already");
  base::throw_errno("cannot make " + name, number);
}

// Whether the place cannot hold such a thing, whatever else is done.
bool is_beyond(int number) {
  return number == EPERM || number == EINVAL || number == ENAMETOOLONG || number == EOPNOTSUPP;
}

void check_name(const std::string& name) {
  if (!repo::is_valid_name(name))
    throw base::Corrupt("the snapshot holds an entry with a forbidden name");
}

bool is_same_file(const repo::Node& a, const repo::Node& b) {
  return a.type == b.type && a.size == b.size && a.content == b.content &&
         a.linktarget == b.linktarget && a.device == b.device;
}

std::string parent_path(const std::string& path) {
  const size_t slash = path.rfind('/');
  return slash == std::string::npos ? "" : path.substr(0, slash);
}

}  // namespace

Sink::Sink(int directory, const repo::Node& root)
    : root_(std::make_shared<const base::Fd>(base::duplicate(directory))), descent_(root_) {
  clear_inheritance(directory);
  levels_.push_back(add(root, ""));
}

PendingDirectory* Sink::add(const repo::Node& node, std::string path) {
  std::lock_guard lock(mutex_);
  PendingDirectory& pending = pending_.emplace_front();
  pending.node = node;
  pending.path = std::move(path);
  pending.self = pending_.begin();
  return &pending;
}

std::string Sink::path_of(const std::string& name) const {
  const std::string& above = levels_.back()->path;
  return above.empty() ? name : above + "/" + name;
}

void Sink::enter(const repo::Node& node) {
  check_name(node.name);
  const int parent = here()->get();
  if (::mkdirat(parent, node.name.c_str(), 0700) != 0) throw_making(path_of(node.name), errno);
  base::Fd made(base::open_directory_at(parent, node.name.c_str()));
  if (!made) base::throw_errno("cannot open " + path_of(node.name), errno);
  levels_.push_back(add(node, path_of(node.name)));
  descent_.enter(node.name, std::move(made));
  ++result_.directories;
}

void Sink::leave() {
  release(levels_.back(), here()->get());
  levels_.pop_back();
  if (!descent_.leave())
    throw base::Conflict("the directory that is being restored was changed by somebody else");
}

void Sink::release(PendingDirectory* directory, int fd) {
  if (directory->shares.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
  std::vector<std::string> problems;
  apply_metadata(fd, nullptr, directory->node, problems);
  for (const std::string& problem : problems) report(directory->path, problem);
  std::lock_guard lock(mutex_);
  pending_.erase(directory->self);
}

base::Fd Sink::create(int directory, const std::string& name, uint32_t go_mode,
                      const std::string& path) {
  check_name(name);
  // Nobody else gets at it before the directories above it have their modes. The owner's rights are
  // needed to set attributes where we are nobody special.
  const mode_t mode = (repo::st_mode(go_mode) & 0777) | 0600;
  int fd;
  do
    fd =
        ::openat(directory, name.c_str(), O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
  while (fd < 0 && errno == EINTR);
  if (fd < 0) throw_making(path, errno);
  return base::Fd(fd);
}

void Sink::make_object(int directory, const std::string& name, const repo::Node& node,
                       base::Fd& made) {
  using enum repo::NodeType;
  check_name(name);
  int failed = 0;
  switch (node.type) {
    case file:
      made = create(directory, name, node.mode, path_of(node.name));
      return;
    case symlink:
      failed = ::symlinkat(node.linktarget.c_str(), directory, name.c_str());
      break;
    case fifo:
      failed = ::mkfifoat(directory, name.c_str(), 0600);
      break;
    case dev:
      failed = ::mknodat(directory, name.c_str(), S_IFBLK | 0600, node.device);
      break;
    case chardev:
      failed = ::mknodat(directory, name.c_str(), S_IFCHR | 0600, node.device);
      break;
    default:
      throw base::Corrupt("the snapshot holds an entry of a type that cannot be made");
  }
  if (failed) {
    const int number = errno;
    // A user's namespace may not make devices, and a file system may have no such long symlinks, or
    // no such large device numbers; that is no reason to lose the rest.
    if (is_beyond(number) && !(number == EPERM && node.type == symlink)) {
      report(path_of(node.name), std::string("it cannot be made here: ") + std::strerror(number));
      return;
    }
    throw_making(path_of(node.name), number);
  }
  const base::Fd open = base::open_at(directory, name, O_PATH | O_NOFOLLOW);
  std::vector<std::string> problems;
  apply_metadata(open.get(), nullptr, node, problems);
  for (const std::string& problem : problems) report(path_of(node.name), problem);
}

void Sink::make_special(const repo::Node& node) {
  if (node.type == repo::NodeType::socket) return;
  if (node.type == repo::NodeType::symlink &&
      (node.linktarget.empty() || node.linktarget.find('\0') != std::string::npos))
    throw base::Corrupt(path_of(node.name) + " is a symbolic link with a forbidden target");
  base::Fd made;
  ++result_.others;
  if (link(node, made) == Link::alone) make_object(here()->get(), node.name, node, made);
}

int Sink::hub() {
  if (!hub_) {
    hub_name_ = ".davit-links-" + base::make_uuid();
    if (::mkdirat(root_->get(), hub_name_.c_str(), 0700) != 0) throw_making(hub_name_, errno);
    hub_ = base::Fd(base::open_directory_at(root_->get(), hub_name_.c_str()));
    if (!hub_) base::throw_errno("cannot open " + hub_name_, errno);
  }
  return hub_.get();
}

// A further name of what could not be made.
void Sink::report_missing(const repo::Node& node, const Group& group) {
  report(path_of(node.name), "it cannot be made here: it is another name of " + group.first.name);
}

Sink::Link Sink::link(const repo::Node& node, base::Fd& made) {
  const bool fifo = node.type == repo::NodeType::fifo;
  if (node.inode == 0 || (!fifo && node.links < 2)) return Link::alone;
  check_name(node.name);
  const auto [entry, is_new] = groups_.try_emplace({node.device_id, node.inode});
  Group& group = entry->second;
  const int to = here()->get();
  if (is_new) {
    group.first = node;
    group.first.xattrs.clear();
    if (fifo) {
      group.fifo_path = path_of(node.name);
      return Link::alone;
    }
    group.number = ++next_number_;
    group.names_left = node.links;
    make_object(hub(), std::to_string(group.number), node, made);
  } else if (!is_same_file(group.first, node)) {
    report(path_of(node.name),
           "it is restored as a file of its own: the snapshot names it as another "
           "name of a file with other content");
    return Link::alone;
  }
  if (fifo) {
    base::Descent::Handle from = root_;
    std::string path = group.fifo_path;
    for (size_t slash; (slash = path.find('/')) != std::string::npos;
         path = path.substr(slash + 1)) {
      base::Fd next(base::open_directory_at(from->get(), path.substr(0, slash).c_str()));
      if (!next) base::throw_errno("cannot open " + parent_path(group.fifo_path), errno);
      from = std::make_shared<const base::Fd>(std::move(next));
    }
    if (::linkat(from->get(), path.c_str(), to, node.name.c_str(), 0) != 0) {
      const int number = errno;
      if (number != ENOENT) throw_making(path_of(node.name), number);
      report_missing(node, group);
    }
    return Link::further;
  }
  const std::string from = std::to_string(group.number);
  if (group.names_left > 0) --group.names_left;
  bool last = group.names_left == 0;
  if (!last && ::linkat(hub(), from.c_str(), to, node.name.c_str(), 0) != 0) {
    const int number = errno;
    if (number == ENOENT) {
      if (!is_new) report_missing(node, group);
      return Link::further;
    }
    if (number != EMLINK) throw_making(path_of(node.name), number);
    last = true;
  }
  if (last) {
    if (::renameat2(hub(), from.c_str(), to, node.name.c_str(), RENAME_NOREPLACE) != 0) {
      const int number = errno;
      if (number != ENOENT) throw_making(path_of(node.name), number);
      if (!is_new) report_missing(node, group);
    }
    groups_.erase(entry);
  }
  return is_new ? Link::first : Link::further;
}

void Sink::finish_file(int fd, const struct stat& status, const repo::Node& node,
                       const std::string& path) {
  std::vector<std::string> problems;
  apply_metadata(fd, &status, node, problems);
  for (const std::string& problem : problems) report(path, problem);
}

void Sink::finish() {
  DAVIT_CHECK(levels_.size() == 1);
  if (hub_) {
    for (const auto& [key, group] : groups_)
      if (group.fifo_path.empty()) ::unlinkat(hub_.get(), std::to_string(group.number).c_str(), 0);
    if (::unlinkat(root_->get(), hub_name_.c_str(), AT_REMOVEDIR) != 0)
      base::throw_errno("cannot remove " + hub_name_, errno);
  }
  release(levels_.back(), root_->get());
  levels_.clear();
}

void Sink::report(const std::string& path, const std::string& reason) {
  std::lock_guard lock(mutex_);
  ++result_.problem_count;
  if (result_.problems.size() < kListedProblems)
    result_.problems.push_back((path.empty() ? "." : path) + ": " + reason);
}

}  // namespace davit::restore
