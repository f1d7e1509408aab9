// The members of an image stream as they become a tree: names are checked, directories made, hard
// links tied. One thread.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "archive/frame.h"
#include "archive/tar_reader.h"

namespace davit::archive {

// The components of a member's name: a "./" at its beginning and a "/" behind a directory's do not
// count, "./" itself has none. Throws Corrupt for names that are absolute, escape, have empty
// components or more of them than any image has.
std::vector<std::string> split_member_name(const TarMember& member);

class ImageMembers {
 public:
  explicit ImageMembers(uint64_t max_members) : max_members_(max_members) {}

  // Where the member lies, for its content; null for what has none. Stays where it is. Throws
  // Corrupt as archive_container says.
  Frame* add(const TarMember& member);
  // Once all content is known: gives it to the hard links.
  void tie_links();

  Frame& root() { return root_; }
  const Frame& root() const { return root_; }

 private:
  void count();
  Frame& directory(Frame& parent, const std::string& name, const TarMember& member);
  Frame& place(const std::vector<std::string>& names, const TarMember& member);
  void add_hard_link(Frame& frame, const TarMember& member);

  const uint64_t max_members_;
  uint64_t members_ = 0;  // directories above them counted, too
  uint64_t names_bytes_ = 0;
  Frame root_;
  std::map<Frame*, Frame*> links_;  // a further name -> the first one
  uint64_t linked_files_ = 0;
};

// What `path` leads to, symbolic links followed by their text alone and within `root`; null where
// that is nothing.
const Frame* find_member(const Frame& root, std::string_view path);

}  // namespace davit::archive
