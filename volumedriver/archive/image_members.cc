#include "archive/image_members.h"

#include <sys/stat.h>

#include <algorithm>
#include <deque>

#include "base/errors.h"

namespace davit::archive {

namespace {

constexpr size_t kMaxDepth = 64;
// Of all names and link targets together: what they cost in memory is a few times that.
constexpr uint64_t kMaxNamesBytes = 64 << 20;
constexpr int kMaxFollowed = 40;  // as the kernel's

[[noreturn]] void refuse(const std::string& why) {
  throw base::Corrupt("the image stream is not usable: " + why);
}

std::vector<std::string_view> components_of(std::string_view path) {
  std::vector<std::string_view> components;
  for (size_t from = 0; from <= path.size();) {
    const size_t slash = std::min(path.find('/', from), path.size());
    components.push_back(path.substr(from, slash - from));
    from = slash + 1;
  }
  return components;
}

std::vector<std::string> split_name(std::string_view name, bool is_directory) {
  std::string_view rest = name;
  while (rest.substr(0, 2) == "./") rest.remove_prefix(2);
  if (is_directory) {
    if (rest.size() > 1 && rest.back() == '/') rest.remove_suffix(1);
    if (rest.empty() || rest == ".") return {};
  }
  std::vector<std::string> names;
  for (const std::string_view component : components_of(rest)) {
    if (!repo::is_valid_name(component) || component.size() > 255)
      refuse("the name " + shown_name(name) +
             (name[0] == '/' ? " is absolute" : " is no path within the image"));
    names.emplace_back(component);
  }
  if (names.size() > kMaxDepth) refuse("the name " + shown_name(name) + " is too deep");
  return names;
}

}  // namespace

std::vector<std::string> split_member_name(const TarMember& member) {
  return split_name(member.name, member.type == TarMember::Type::directory);
}

void ImageMembers::count() {
  if (++members_ > max_members_)
    refuse("it has more than " + std::to_string(max_members_) + " members");
}

Frame& ImageMembers::directory(Frame& parent, const std::string& name, const TarMember& member) {
  const auto found = parent.entries.find(name);
  if (found == parent.entries.end()) {
    count();
    return parent.directory(name);
  }
  if (found->second.node.type != repo::NodeType::dir)
    refuse(shown_name(member.name) + " needs a directory where there is none");
  return found->second;
}

Frame& ImageMembers::place(const std::vector<std::string>& names, const TarMember& member) {
  Frame* at = &root_;
  for (size_t i = 0; i + 1 < names.size(); ++i) at = &directory(*at, names[i], member);
  Frame& frame = at->entries[names.back()];
  if (!frame.node.name.empty()) refuse(shown_name(member.name) + " is in it twice");
  count();
  frame.node.name = names.back();
  return frame;
}

Frame* ImageMembers::add(const TarMember& member) {
  names_bytes_ += member.name.size() + member.link_target.size();
  if (names_bytes_ > kMaxNamesBytes) refuse("its members' names are too long together");
  const std::vector<std::string> names = split_member_name(member);

  if (member.type == TarMember::Type::directory) {
    // One that comes again, or after what is in it, changes nothing.
    Frame* at = &root_;
    for (const std::string& name : names) at = &directory(*at, name, member);
    return nullptr;
  }
  Frame& frame = place(names, member);
  frame.node.links = 1;
  switch (member.type) {
    case TarMember::Type::symlink:
      frame.node.type = repo::NodeType::symlink;
      frame.node.mode = repo::go_mode(S_IFLNK | 0777);
      frame.node.linktarget = member.link_target;
      return nullptr;
    case TarMember::Type::hard_link:
      add_hard_link(frame, member);
      return nullptr;
    default:
      frame.node.type = repo::NodeType::file;
      frame.node.mode = repo::go_mode(S_IFREG | 0600);
      frame.node.size = member.size_bytes;
      return &frame;
  }
}

void ImageMembers::add_hard_link(Frame& frame, const TarMember& member) {
  Frame* target = &root_;
  for (const std::string& name : split_name(member.link_target, false)) {
    const auto found = target->entries.find(name);
    target = found == target->entries.end() ? nullptr : &found->second;
    if (!target) break;
  }
  if (!target || target == &frame || target->node.type != repo::NodeType::file)
    refuse(shown_name(member.name) + " is a hard link to " + shown_name(member.link_target) +
           ", which is no file before it");
  const auto linked = links_.find(target);
  if (linked != links_.end()) target = linked->second;
  links_[&frame] = target;
  frame.node.type = repo::NodeType::file;  // so that it can be linked again
  // Numbers tell those who restore what belongs together; any will do that are always the same.
  if (target->node.inode == 0) {
    target->node.inode = ++linked_files_;
    target->node.device_id = 1;
  }
  ++target->node.links;
}

void ImageMembers::tie_links() {
  for (const auto& [frame, target] : links_) {
    repo::Node& node = frame->node;
    std::string name = std::move(node.name);
    node = target->node;
    node.name = std::move(name);
  }
}

const Frame* find_member(const Frame& root, std::string_view path) {
  std::vector<const Frame*> way{&root};
  std::deque<std::string> rest;
  const auto go_on_with = [&](std::string_view more) {
    const auto components = components_of(more);
    rest.insert(rest.begin(), components.begin(), components.end());
  };
  go_on_with(path);
  for (int followed = 0; !rest.empty();) {
    const std::string name = std::move(rest.front());
    rest.pop_front();
    if (name.empty() || name == ".") continue;
    if (name == "..") {
      if (way.size() == 1) return nullptr;
      way.pop_back();
      continue;
    }
    const auto found = way.back()->entries.find(name);
    if (found == way.back()->entries.end()) return nullptr;
    const Frame& next = found->second;
    if (next.node.type != repo::NodeType::symlink) {
      way.push_back(&next);
      continue;
    }
    const std::string& target = next.node.linktarget;
    if (++followed > kMaxFollowed || target[0] == '/') return nullptr;
    go_on_with(target);
  }
  return way.back();
}

}  // namespace davit::archive
