#include "volumes/installation.h"

#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <optional>
#include <sstream>

#include "base/files.h"
#include "base/log.h"
#include "volumes/record.h"

namespace davit::volumes {

namespace {

constexpr size_t kLargest = 64 << 10;

// Where `path` lies on the file system that is mounted there: what was given as the mount's source,
// where that file system is the host's root. "" when it cannot be known. (proc(5), mountinfo:
// fields 4 and 5.)
std::string place_on_host(const std::string& path) {
  const auto text = base::find_file("/proc/self/mountinfo", 16 << 20);
  if (!text) return "";
  std::istringstream lines{std::string(base::as_text(*text))};
  std::string line, best_root, best_point;
  while (std::getline(lines, line)) {
    std::istringstream fields(line);
    std::string skipped, root, point;
    fields >> skipped >> skipped >> skipped >> root >> point;
    const bool above = point == "/" || path == point || path.starts_with(point + "/");
    if (above && point.size() >= best_point.size())
      best_root = root, best_point = point;  // later mounts cover
  }
  const std::string rest = best_point == "/" ? path : path.substr(best_point.size());
  if (best_root.empty()) return "";
  return best_root == "/" ? (rest.empty() ? "/" : rest) : best_root + rest;
}

struct Mark {
  std::string id;
  std::string place;  // of the data directory when it was written; second directory only
};

std::optional<Mark> find_mark(const std::string& path) {
  const auto text = base::find_file(path, kLargest);
  if (!text) return std::nullopt;
  std::istringstream lines{std::string(base::as_text(*text))};
  Mark mark;
  std::getline(lines, mark.id);
  std::getline(lines, mark.place);
  if (!is_uuid(mark.id)) throw base::Corrupt(path + " does not hold the ID of an installation");
  return mark;
}

void write_mark(const std::string& path, const Mark& mark) {
  base::write_file_atomic(
      path, base::as_bytes(mark.id + "\n" + (mark.place.empty() ? "" : mark.place + "\n")));
}

base::Fd take_lock(const std::string& path, const std::string& who) {
  base::Fd file = base::open_file(path, O_RDWR | O_CREAT, 0600);
  if (::flock(file.get(), LOCK_EX | LOCK_NB) != 0) {
    const int number = errno;
    if (number != EWOULDBLOCK) base::throw_errno("cannot lock " + path, number);
    const base::Bytes other = base::get_file(path, kLargest);
    std::string name(base::as_text(other));
    while (!name.empty() && name.back() == '\n') name.pop_back();
    throw base::Conflict("another davit uses this data directory already" +
                         (name.empty() ? "" : ": " + name) + " (" + path +
                         " is locked). Stop that one, or give this one a directory of its own");
  }
  if (::ftruncate(file.get(), 0) != 0) base::throw_errno("cannot write " + path, errno);
  base::pwrite_all(file.get(), base::as_bytes(who + "\n"), 0);
  return file;
}

[[noreturn]] void throw_misplaced(const std::string& data, const Mark& known,
                                  const std::optional<Mark>& here) {
  const std::string now = place_on_host(data);
  const std::string source = known.place.empty() ? "/the/former/directory" : known.place;
  throw MisplacedData(
      "this is not the data directory that this plugin used before: " + data +
      (now.empty() ? "" : " (on the host " + now + ")") +
      (here ? " belongs to installation " + here->id : " belongs to no installation") +
      ", while the plugin's own is " + known.id +
      (known.place.empty() ? "" : ", last seen at " + known.place) +
      ". An upgrade of the plugin puts a changed mount source back to its default. No call is "
      "answered, so that the "
      "engine does not forget the volumes. To repair it: docker plugin disable -f PLUGIN; docker "
      "plugin set PLUGIN "
      "data.source=" +
      source + "; docker plugin enable PLUGIN");
}

}  // namespace

Installation::Installation(const std::string& data_directory, const std::string& second_directory,
                           const std::string& who)
    : lock_(take_lock(data_directory + "/lock", who)) {
  const std::string first_path = data_directory + "/installation";
  const std::string second_path = second_directory + "/installation";
  const std::optional<Mark> first = find_mark(first_path);
  const std::optional<Mark> second =
      second_directory.empty() ? std::nullopt : find_mark(second_path);
  if (second && (!first || first->id != second->id))
    throw_misplaced(data_directory, *second, first);

  is_new_ = !first;
  id_ = first ? first->id : base::make_uuid();
  // The data directory first: a crash in between leaves what looks like a plugin that was installed
  // again.
  if (!first) write_mark(first_path, {id_, ""});
  if (second_directory.empty()) return;
  const Mark mark{id_, place_on_host(data_directory)};
  if (!second || second->place != mark.place) write_mark(second_path, mark);
}

}  // namespace davit::volumes
