#include "jobs/mirror_journal.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <utility>

#include "base/errors.h"
#include "base/fd.h"
#include "base/files.h"

namespace davit::jobs {

namespace {

constexpr size_t kLargest = size_t{1} << 30;
constexpr std::string_view kPruned = "pruned";
constexpr std::string_view kKnown = "known ", kListed = "snapshots:";

std::optional<store::Name> parse_name(std::string_view line) {
  for (const auto kind :
       {store::Kind::snapshot, store::Kind::index, store::Kind::data, store::Kind::key}) {
    const std::string_view word = store::kind_name(kind);
    if (!line.starts_with(word) || line.size() <= word.size() || line[word.size()] != '/') continue;
    if (const auto id = base::Id::parse(line.substr(word.size() + 1)))
      return store::Name{kind, *id};
  }
  return std::nullopt;
}

}  // namespace

void MirrorJournal::append(const std::string& lines) {
  const std::lock_guard lock(mutex_);
  base::make_directories(path_.substr(0, path_.rfind('/')));
  const bool is_new = ::access(path_.c_str(), F_OK) != 0;
  const base::Fd file = base::open_file(path_, O_WRONLY | O_CREAT | O_APPEND, 0600);
  // The line end before them ends what a crash may have left.
  base::write_all(file.get(), base::as_bytes("\n" + lines));
  if (::fdatasync(file.get()) != 0) {
    const int number = errno;
    base::throw_errno("cannot sync " + path_, number);
  }
  if (is_new) base::sync_directory(path_.substr(0, path_.rfind('/')));
}

void MirrorJournal::add(const store::Name& removed) {
  append(store::to_string(removed) + "\n");
}

void MirrorJournal::add_prune(std::span<const base::Id> snapshots) {
  std::string lines = std::string(kListed) + "\n";
  for (const auto& id : snapshots) lines += std::string(kKnown) + id.hex() + "\n";
  lines += std::string(kPruned) + "\n";
  append(lines);
}

void MirrorJournal::add_known(const base::Id& snapshot) {
  append(std::string(kKnown) + snapshot.hex() + "\n");
}

MirrorJournal::Content MirrorJournal::read() const {
  const std::lock_guard lock(mutex_);
  Content content;
  const auto bytes = base::find_file(path_, kLargest);
  if (!bytes) return content;
  const std::string_view text = base::as_text(*bytes);
  content.size_bytes = text.size();
  std::vector<base::Id> before;
  bool is_listing = false;
  for (size_t at = 0, end; (end = text.find('\n', at)) != text.npos; at = end + 1) {
    const std::string_view line = text.substr(at, end - at);
    if (line == kListed) {
      before = std::exchange(content.known, {});
      is_listing = true;
    } else if (line == kPruned) {
      // Only what the last prune knew is sure to be whole. Its list ends here, or it was cut off.
      content.pruned = content.pruned || is_listing;
      is_listing = false;
    } else if (line.starts_with(kKnown)) {
      if (const auto id = base::Id::parse(line.substr(kKnown.size()))) content.known.push_back(*id);
    } else if (const auto name = parse_name(line)) {
      content.removed.push_back(*name);
    }
  }
  // A list without its end: that prune removed nothing.
  if (is_listing) content.known.insert(content.known.end(), before.begin(), before.end());
  std::sort(content.known.begin(), content.known.end());
  return content;
}

void MirrorJournal::forget(const Content& read, std::span<const store::Name> pending) {
  if (read.size_bytes == 0) return;
  const std::lock_guard lock(mutex_);
  const auto bytes = base::find_file(path_, kLargest);
  if (!bytes) return;
  std::string text;
  for (const auto& name : pending) text += store::to_string(name) + "\n";
  text += base::as_text(*bytes).substr(std::min(read.size_bytes, bytes->size()));
  if (text.empty())
    base::remove_file(path_);
  else
    base::write_file_atomic(path_, base::as_bytes(text));
}

}  // namespace davit::jobs
