// Whether anybody may write to a file, in whatever way: a read lease is refused as long as it is
// open for writing, by a process, a mapping that outlived its descriptor, an io_uring, an overlay,
// a loop device or a server in the kernel. What /proc hides (capture/open_writers.h) is seen here.
//
// Costs two system calls on an open file. For these microseconds somebody who opens it for writing
// waits, or fails with EWOULDBLOCK where he asked for O_NONBLOCK; so this is for files that were
// looked at anyway. Needs CAP_LEASE for files of others. Any thread.
#pragma once

namespace davit::capture {

// `fd` is open for reading only. True as well where it cannot be told.
bool may_be_written(int fd);

}  // namespace davit::capture
