// A part of a file as memory, read-only. The pages are the kernel's and can be dropped at any time,
// so they do not count as ours. Whoever cuts such a file short kills its readers: only for files that
// nobody but us writes, and that we replace and never change.
#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include "base/bytes.h"
#include "base/fd.h"

namespace davit::base {

class MappedFile {
 public:
  MappedFile() = default;
  // The first `size_bytes` of the file, which must have them. Throws IoError.
  MappedFile(int fd, uint64_t size_bytes);
  MappedFile(MappedFile&& other) noexcept : bytes_(std::exchange(other.bytes_, {})) {}
  MappedFile& operator=(MappedFile&& other) noexcept {
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~MappedFile();

  ByteView bytes() const { return bytes_; }

 private:
  ByteView bytes_;
};

// Files without a name, gone with the last descriptor and mapping: in `directory`, and in memory
// alone. Throw IoError.
Fd make_unnamed_file(const std::string& directory);
Fd make_memory_file();

}  // namespace davit::base
