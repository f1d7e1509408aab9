// The mounts that a process sees, from /proc/PID/mountinfo. Any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace davit::capture {

struct MountEntry {
  uint64_t device = 0;  // st_dev
  std::string path;     // of the mount point, as the process sees it
  std::string type;
  std::string options;  // of the file system, as the kernel writes them
};

// Pure.
std::vector<MountEntry> parse_mounts(std::string_view mountinfo);
// "\040" and its like. Pure.
std::string unescape_octal(std::string_view text);
// None where it cannot be read.
std::vector<MountEntry> read_mounts(int process);

}  // namespace davit::capture
