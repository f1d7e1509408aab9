// A file's identity as its file system gives it, in one number: the hash of its file handle, which
// names the inode and its generation. Two files may share one by chance, so equal numbers mean
// "perhaps": whoever asks what changed looks at too much then, never at too little.
// Pure functions and system calls; any thread.
#pragma once

#include <fcntl.h>

#include <cstdint>

namespace davit::capture {

// Never 0.
uint64_t handle_number(const struct file_handle& handle);
// Of the entry, which is not followed if it is a link; with AT_SYMLINK_FOLLOW in `flags` it is. 0:
// there is none, or the file system has no handles.
uint64_t find_handle(int directory, const char* name, int flags = 0);
// Of what is open.
uint64_t find_handle(int fd);

}  // namespace davit::capture
