#include "base/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>

#include "base/errors.h"

namespace davit::base {

MappedFile::MappedFile(int fd, uint64_t size_bytes) {
  if (size_bytes == 0) return;
  void* const place = ::mmap(nullptr, size_bytes, PROT_READ, MAP_SHARED, fd, 0);
  if (place == MAP_FAILED) throw_errno("cannot map a file", errno);
  bytes_ = {static_cast<const uint8_t*>(place), size_bytes};
}

MappedFile::~MappedFile() {
  if (!bytes_.empty()) ::munmap(const_cast<uint8_t*>(bytes_.data()), bytes_.size());
}

Fd make_unnamed_file(const std::string& directory) {
  const int unnamed = ::open(directory.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (unnamed >= 0) return Fd(unnamed);
  // Some file systems (overlay on old kernels, NFS) know no files without names.
  std::string name = directory + "/unnamed.tmp-XXXXXX";
  const int named = ::mkostemp(name.data(), O_CLOEXEC);
  if (named < 0) throw_errno("cannot make a file in " + directory, errno);
  Fd file(named);
  ::unlink(name.c_str());
  return file;
}

Fd make_memory_file() {
  const int number = ::memfd_create("davit", MFD_CLOEXEC);
  if (number < 0) throw_errno("cannot make a file in memory", errno);
  return Fd(number);
}

}  // namespace davit::base
