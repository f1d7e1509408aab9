#include "restore/seed.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <vector>

#include "base/descent.h"
#include "base/errors.h"

namespace davit::restore {

namespace {

// Waits until the clock that file systems use is past `last`, by the file system's granularity.
void wait_past(const repo::NodeTime& last) {
  // Whole seconds tell of a file system that keeps nothing finer.
  const long step_ns = last.nanoseconds == 0 ? 1'000'000'000 : 10'000'000;
  for (;;) {
    timespec now;
    ::clock_gettime(CLOCK_REALTIME_COARSE, &now);
    const int64_t past =
        (now.tv_sec - last.seconds) * 1'000'000'000 + now.tv_nsec - last.nanoseconds;
    // A time in the future means that the clock was set: nothing to wait for.
    if (past > step_ns || past < -step_ns) return;
    const timespec nap{0, 2'000'000};
    ::nanosleep(&nap, nullptr);
  }
}

// Whether the file has the attributes that were saved with it: the file system may have refused
// some.
bool has_xattrs(int directory, const std::string& name, const std::vector<repo::Xattr>& xattrs) {
  if (xattrs.empty()) return true;
  const std::string path = "/proc/self/fd/" + std::to_string(directory) + "/" + name;
  for (const repo::Xattr& xattr : xattrs) {
    base::Bytes value(xattr.value.size() + 1);
    const ssize_t size = ::lgetxattr(path.c_str(), xattr.name.c_str(), value.data(), value.size());
    if (size < 0 || static_cast<size_t>(size) != xattr.value.size()) return false;
    value.resize(xattr.value.size());
    if (value != xattr.value) return false;
  }
  return true;
}

}  // namespace

Seed::Seed(const std::string& path, const base::Id& repository)
    : path_(path),
      repository_(repository),
      draft_(path + ".draft", repository),
      stamps_(path.substr(0, path.rfind('/') + 1) + ".") {}

Seed::~Seed() {
  ::unlink((path_ + ".draft").c_str());
}

void Seed::write(const base::Bytes& record) {
  draft_.write(record);
}

void Seed::enter(const std::string& name) {
  base::Bytes record;
  repo::append_enter(record, name);
  write(record);
}

void Seed::leave(const base::Id& tree) {
  base::Bytes record;
  repo::append_leave(record, tree);
  write(record);
}

uint64_t Seed::add(const repo::Node& file) {
  repo::ScanRecord record;
  record.name = file.name;
  record.size_bytes = file.size;
  record.xattrs = file.xattrs;
  record.content = file.content;
  base::Bytes bytes;
  repo::append_record(bytes, record);
  write(bytes);
  return files_++;
}

// Of file `number`, which is `name` in `directory`. Not trusted where it is not what `saved` says.
repo::ScanStamp Seed::find_stamp(uint64_t number, int directory, const std::string& name,
                                 const repo::ScanRecord& saved) {
  if (auto known = stamps_.find(number)) {
    known->trusted = known->size_bytes == saved.size_bytes;
    known->size_bytes = saved.size_bytes;
    return *known;
  }
  struct stat status;
  if (::fstatat(directory, name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0)
    base::throw_errno("cannot stat " + name, errno);
  repo::ScanStamp stamp;
  stamp.trusted = S_ISREG(status.st_mode) &&
                  static_cast<uint64_t>(status.st_size) == saved.size_bytes &&
                  has_xattrs(directory, name, saved.xattrs);
  stamp.inode = status.st_ino;
  stamp.size_bytes = saved.size_bytes;
  stamp.mtime = {status.st_mtim.tv_sec, static_cast<uint32_t>(status.st_mtim.tv_nsec)};
  stamp.ctime = {status.st_ctim.tv_sec, static_cast<uint32_t>(status.st_ctim.tv_nsec)};
  return stamp;
}

void Seed::finish(int directory, const base::Id& root_tree) {
  draft_.finish(root_tree);
  const auto reader = repo::ScanCacheReader::open(path_ + ".draft", repository_);
  if (!reader) throw base::Corrupt("the draft of the scan cache was damaged");
  repo::ScanCacheWriter writer(path_ + ".new", repository_);
  base::Descent descent(std::make_shared<const base::Fd>(base::duplicate(directory)));
  repo::NodeTime last;
  uint64_t number = 0;
  size_t depth = 0;
  for (;;) {
    base::Bytes bytes;
    const auto kind = reader->peek();
    if (kind == repo::ScanCacheReader::Kind::end) break;
    const std::string name(reader->view().name);
    if (kind == repo::ScanCacheReader::Kind::enter) {
      if (depth++ > 0) {
        base::Fd fd(base::open_directory_at(descent.here()->get(), name.c_str()));
        if (!fd) base::throw_errno("cannot open " + name, errno);
        descent.enter(name, std::move(fd));
      }
      repo::append_enter(bytes, name);
    } else if (kind == repo::ScanCacheReader::Kind::leave) {
      if (--depth > 0 && !descent.leave())
        throw base::Conflict("the restored directory was changed by somebody else");
      repo::append_leave(bytes, reader->view().tree());
    } else if (kind == repo::ScanCacheReader::Kind::file) {
      repo::ScanRecord record = reader->view().record();
      const repo::ScanStamp stamp = find_stamp(number++, descent.here()->get(), name, record);
      static_cast<repo::ScanStamp&>(record) = stamp;
      last = std::max(last, stamp.ctime);
      repo::append_record(bytes, record);
    }
    writer.write(bytes);
    reader->skip();
  }
  if (!reader->intact()) throw base::Corrupt("the draft of the scan cache was damaged");
  writer.finish(root_tree);
  wait_past(last);
  if (::rename((path_ + ".new").c_str(), path_.c_str()) != 0)
    base::throw_errno("cannot rename to " + path_, errno);
}

}  // namespace davit::restore
