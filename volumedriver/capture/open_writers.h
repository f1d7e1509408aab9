// Who may be writing to a file system right now without the kernel having told of it, or ever
// telling (capture/change_tracker.h): files that are open for writing or mapped shared, in any
// process; loop devices; overlays whose upper directory lies there, as what is written through them
// is told of the overlay alone. A file that comes and goes between processes while they are looked
// at may be passed over once; the next look, or its close, finds it.
//
// Cannot see what the kernel writes by itself, and says so where it may: files with an io_uring, in
// a message between processes, served by nfsd, ksmbd or as a SCSI or NVMe target.
//
// Needs to see all processes of the machine and their descriptors: the first PID namespace, and
// CAP_SYS_PTRACE. Any thread may call anything; takes some 20 µs a process.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <vector>

namespace davit::capture {

struct OpenWriters {
  std::vector<uint64_t> files;     // handles, capture/file_handle.h
  std::vector<uint64_t> overlaid;  // of directories: all in them may be written to unseen
  std::string doubt;               // not "": there may be others, and why
};

// On the file system of that st_dev. `harmless`: processes that are taken to write nothing there
// and are not looked at; for tests, on machines whose first process nobody may look at.
OpenWriters find_open_writers(uint64_t device, const std::set<int>& harmless = {});

}  // namespace davit::capture
