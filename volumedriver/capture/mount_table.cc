#include "capture/mount_table.h"

#include <sys/sysmacros.h>

#include <cstdio>
#include <sstream>

#include "base/files.h"

namespace davit::capture {

std::string unescape_octal(std::string_view text) {
  const auto is_octal = [&](size_t at) {
    return at < text.size() && text[at] >= '0' && text[at] < '8';
  };
  std::string plain;
  for (size_t at = 0; at < text.size(); ++at) {
    if (text[at] == '\\' && is_octal(at + 1) && is_octal(at + 2) && is_octal(at + 3)) {
      plain += static_cast<char>((text[at + 1] - '0') * 64 + (text[at + 2] - '0') * 8 +
                                 (text[at + 3] - '0'));
      at += 3;
    } else {
      plain += text[at];
    }
  }
  return plain;
}

std::vector<MountEntry> parse_mounts(std::string_view mountinfo) {
  std::vector<MountEntry> mounts;
  std::istringstream lines{std::string(mountinfo)};
  for (std::string line; std::getline(lines, line);) {
    std::istringstream fields(line);
    std::string id, parent, device, root, path, word;
    MountEntry mount;
    unsigned major = 0, minor = 0;
    if (!(fields >> id >> parent >> device >> root >> path) ||
        std::sscanf(device.c_str(), "%u:%u", &major, &minor) != 2)
      continue;
    while (fields >> word && word != "-") {
    }
    std::string source;
    fields >> mount.type >> source >> mount.options;
    mount.device = makedev(major, minor);
    mount.path = unescape_octal(path);
    mounts.push_back(std::move(mount));
  }
  return mounts;
}

std::vector<MountEntry> read_mounts(int process) {
  try {
    const auto text = base::find_file("/proc/" + std::to_string(process) + "/mountinfo", 64 << 20);
    if (text) return parse_mounts(base::as_text(*text));
  } catch (const std::exception&) {
    // It ended meanwhile.
  }
  return {};
}

}  // namespace davit::capture
