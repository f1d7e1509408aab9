// The least of tar, for made-up image streams: regular files with short names, in memory.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>

namespace davit::test {

// One member; add two blocks of zeros at the end of all.
inline std::string tar_member(const std::string& name, const std::string& content) {
  std::string block(512, '\0');
  const auto put = [&](size_t at, const std::string& text) { block.replace(at, text.size(), text); };
  put(0, name.substr(0, 99));
  put(100, "0000644");
  put(108, "0000000");
  put(116, "0000000");
  char size[16];
  std::snprintf(size, sizeof size, "%011zo", content.size());
  put(124, size);
  put(136, "00000000000");
  put(148, "        ");
  put(156, "0");
  put(257, std::string("ustar\00000", 8));
  unsigned sum = 0;
  for (const char c : block) sum += static_cast<unsigned char>(c);
  char digits[8];
  std::snprintf(digits, sizeof digits, "%06o", sum);
  put(148, std::string(digits) + std::string("\0 ", 2));
  return block + content + std::string((512 - content.size() % 512) % 512, '\0');
}

inline std::string tar_end() { return std::string(1024, '\0'); }

// Regular files by name; whatever else is in it is passed over.
inline std::map<std::string, std::string> tar_files(const std::string& tar) {
  std::map<std::string, std::string> files;
  for (size_t at = 0; at + 512 <= tar.size() && tar[at] != '\0';) {
    const std::string name(tar.c_str() + at, ::strnlen(tar.c_str() + at, 100));
    const size_t size = std::strtoul(tar.substr(at + 124, 12).c_str(), nullptr, 8);
    const char type = tar[at + 156];
    if ((type == '0' || type == '\0') && at + 512 + size <= tar.size())
      files[name.compare(0, 2, "./") == 0 ? name.substr(2) : name] = tar.substr(at + 512, size);
    at += 512 + (size + 511) / 512 * 512;
  }
  return files;
}

}  // namespace davit::test
