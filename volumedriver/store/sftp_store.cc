#include "store/sftp_store.h"

#include <pwd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>

#include "base/crew.h"
#include "base/errors.h"
#include "store/spool_draft.h"

namespace davit::store {

namespace {

using base::ByteView;
using Renamed = wire::SftpSession::Renamed;

constexpr std::string_view kTemporaryMark = "-tmp-davit-";
constexpr auto kLeftoverAge = std::chrono::hours(24);
constexpr size_t kDirectoriesAtOnce = 64;
constexpr unsigned kListers = 4;

// The name that ssh would log in with.
std::string own_user() {
  std::array<char, 4096> buffer;
  passwd entry{}, *found = nullptr;
  if (::getpwuid_r(::geteuid(), &entry, buffer.data(), buffer.size(), &found) == 0 && found)
    return found->pw_name;
  return ::geteuid() == 0 ? "root" : "";
}

sftp::Address with_user(sftp::Address address) {
  if (address.server.user.empty()) address.server.user = own_user();
  if (address.server.user.empty())
    throw base::UsageError("name the user in the URL: sftp:USER@HOST:/PATH");
  return address;
}

uint64_t size_of(std::span<const ByteView> pieces) {
  uint64_t size_bytes = 0;
  for (const ByteView piece : pieces) size_bytes += piece.size();
  return size_bytes;
}

std::vector<FileInfo> files_in(Kind kind, const std::string& directory,
                               const std::vector<wire::SftpEntry>& entries) {
  std::vector<FileInfo> files;
  for (const auto& entry : entries)
    if (entry.is_file())
      if (const auto id = parse_relative_path(kind, directory + "/" + entry.name))
        files.push_back({*id, entry.size_bytes});
  return files;
}

}  // namespace

SftpStore::SftpStore(sftp::Address address, SftpOptions options)
    : address_(with_user(std::move(address))),
      options_(std::move(options)),
      // Somebody may be listing while all others are at work.
      client_(address_.server, options_.access, connections() + 2) {}

std::string SftpStore::beneath(const std::string& path) const {
  if (path.empty()) return address_.path;
  return address_.path == "/" ? "/" + path : address_.path + "/" + path;
}

// Beside the kind's files; those of data beside its directories, so that few places are to be
// looked into for what was left.
std::string SftpStore::new_temporary(const Name& name) const {
  const std::string directory = directory_name(name.kind);
  const std::string id = name.kind == Kind::config ? "config" : name.id.hex();
  return beneath((directory.empty() ? "" : directory + "/") + id + std::string(kTemporaryMark) +
                 base::make_uuid().substr(0, 18));
}

template <typename Use>
auto SftpStore::reach(const std::string& what, Use use) {
  const auto words = [&](const base::IoError& error) {
    return "cannot " + what + " " + describe() + ": " + error.what();
  };
  try {
    return client_.use(use);
  } catch (const wire::Untrusted& error) {
    throw wire::Untrusted(words(error), error.number(), error.transient());
  } catch (const base::IoError& error) {
    throw base::IoError(words(error), error.number(), error.transient());
  }
}

unsigned SftpStore::group_bits(Session& session) {
  int bits = group_bits_.load(std::memory_order_relaxed);
  if (bits < 0) {
    const auto config = session.find(beneath("config"));
    if (!config) return 0;  // before the first one
    bits = (config->mode & 040) != 0 ? 070 : 0;
    group_bits_.store(bits, std::memory_order_relaxed);
  }
  return static_cast<unsigned>(bits);
}

void SftpStore::make_directory(Session& session, const std::string& path) {
  const unsigned bits = group_bits(session);
  // The server's umask takes the group's rights away.
  if (session.make_directory(path, 0700 | bits) && bits != 0) session.set_mode(path, 0700 | bits);
}

void SftpStore::make_directories(Session& session, const std::string& path) {
  try {
    session.make_directory(path, 0700);
  } catch (const base::IoError& error) {
    const size_t slash = path.rfind('/');
    if (error.number() != ENOENT || slash == std::string::npos || slash == 0) throw;
    make_directories(session, path.substr(0, slash));
    session.make_directory(path, 0700);
  }
}

void SftpStore::prepare() {
  reach("prepare", [&](Session& session) {
    if (!session.find(address_.path)) make_directories(session, address_.path);
    for (const Kind kind : {Kind::key, Kind::data, Kind::index, Kind::snapshot, Kind::lock}) {
      make_directory(session, beneath(directory_name(kind)));
      remove_leftovers(session, beneath(directory_name(kind)));
    }
    remove_leftovers(session, address_.path);
  });
}

void SftpStore::remove_leftovers(Session& session, const std::string& directory) {
  const auto oldest =
      std::chrono::system_clock::to_time_t(std::chrono::system_clock::now() - kLeftoverAge);
  const auto entries = session.list(directory);
  if (!entries) return;
  for (const auto& entry : *entries)
    if (entry.name.find(kTemporaryMark) != std::string::npos && entry.is_file() &&
        entry.modified < oldest)
      session.remove(directory + "/" + entry.name);
}

void SftpStore::make_missing(Session& session, const Name& name) {
  const std::string top = beneath(directory_name(name.kind));
  if (!session.find(top)) {
    // Without its config this is no repository, but perhaps the place where its disk was mounted.
    if (!session.find(beneath("config")))
      throw base::IoError("there is no repository any more: is its disk mounted?", ENOENT);
    make_directory(session, top);
  }
  if (name.kind == Kind::data)
    make_directory(session, path_of(name).substr(0, path_of(name).rfind('/')));
}

bool SftpStore::holds(Session& session, const std::string& path, std::span<const ByteView> pieces) {
  const auto there = session.find(path);
  if (!there || there->size_bytes != size_of(pieces)) return false;
  base::Bytes bytes(there->size_bytes);
  if (session.read(path, 0, bytes) != bytes.size()) return false;
  base::ByteView rest = bytes;
  for (const ByteView piece : pieces) {
    if (!std::equal(piece.begin(), piece.end(), rest.begin())) return false;
    rest = rest.subspan(piece.size());
  }
  return true;
}

void SftpStore::rename(Session& session, const std::string& temporary, const Name& name,
                       std::span<const ByteView> pieces) {
  const std::string path = path_of(name);
  bool made = false;
  for (int tries = 0; tries < 5; ++tries) {
    switch (session.rename(temporary, path)) {
      case Renamed::done:
        return session.sync(path);
      case Renamed::no_such_path:
        if (made) throw base::IoError("cannot rename to " + path + ": it has no directory", ENOENT);
        make_missing(session, name);
        made = true;
        break;
      case Renamed::exists:
        if (holds(session, path, pieces)) {  // of one that did the same, or of ourselves
          session.remove(temporary);
          return session.sync(path);
        }
        if (name.kind == Kind::config)
          throw base::Conflict("there is another config in " + describe() +
                               " already: was a repository made there at the same moment?");
        // What is there is damaged. Its place is empty for a moment.
        const std::string aside = new_temporary(name);
        if (session.rename(path, aside) == Renamed::done) session.remove(aside);
        break;
    }
  }
  throw base::IoError("cannot rename to " + path + ": somebody else writes it again and again",
                      EEXIST, true);
}

void SftpStore::put(Session& session, const Name& name, std::span<const ByteView> pieces) {
  const std::string temporary = new_temporary(name);
  const unsigned mode = 0600 | (group_bits(session) & 040);
  if (!session.write(temporary, pieces, mode)) {
    make_missing(session, name);
    if (!session.write(temporary, pieces, mode))
      throw base::IoError("cannot make " + temporary + ": it has no directory", ENOENT);
  }
  try {
    if ((mode & 040) != 0) session.set_mode(temporary, mode);
    rename(session, temporary, name, pieces);
  } catch (...) {
    if (session.is_usable()) {
      try {
        session.remove(temporary);
      } catch (const base::Error&) {  // what went wrong first counts
      }
    }
    throw;
  }
}

void SftpStore::put(const Name& name, std::span<const ByteView> pieces) {
  reach("write " + to_string(name) + " to", [&](Session& session) { put(session, name, pieces); });
}

std::unique_ptr<Draft> SftpStore::begin_draft(Kind kind, size_t expected_bytes) {
  return begin_spooled(*this, options_.spool_directory, kind, expected_bytes);
}

base::Bytes SftpStore::get(const Name& name, uint64_t max_bytes) {
  return reach("read " + to_string(name) + " from", [&](Session& session) {
    const std::string path = path_of(name);
    const auto entry = session.find(path);
    if (!entry) not_found(name);
    if (entry->size_bytes > max_bytes)
      throw base::Corrupt(to_string(name) + " is larger than " + base::human_size(max_bytes));
    base::Bytes bytes(entry->size_bytes);
    const auto count = session.read(path, 0, bytes);
    if (!count) not_found(name);
    if (*count != bytes.size())
      throw base::Corrupt(to_string(name) + " became shorter while it was read");
    return bytes;
  });
}

void SftpStore::get_range(const Name& name, uint64_t offset, std::span<uint8_t> out) {
  if (is_settled(*this, name, offset, out.size())) return;
  reach("read " + to_string(name) + " from", [&](Session& session) {
    const auto count = session.read(path_of(name), offset, out);
    if (!count) not_found(name);
    if (*count != out.size()) too_short(name, offset, out.size());
  });
}

std::optional<uint64_t> SftpStore::find_size(const Name& name) {
  return reach("look for " + to_string(name) + " in",
               [&](Session& session) -> std::optional<uint64_t> {
                 const auto entry = session.find(path_of(name));
                 if (!entry) return std::nullopt;
                 return entry->size_bytes;
               });
}

void SftpStore::list(Kind kind, const std::function<void(const FileInfo&)>& each) {
  DAVIT_CHECK(kind != Kind::config);
  const std::string what = "list the " + std::string(kind_name(kind)) + " files of";
  const std::string top = directory_name(kind);
  const auto entries = reach(what, [&](Session& session) {
    auto found = session.list(beneath(top));
    // Copying tools lose empty directories; but then the config is there.
    if (!found && !session.find(beneath("config")))
      throw base::IoError("there is no repository: is its disk mounted?", ENOENT);
    return found;
  });
  if (!entries) return;
  if (kind != Kind::data) {
    for (const FileInfo& file : files_in(kind, top, *entries)) each(file);
    return;
  }
  std::vector<std::string> directories;
  for (const auto& entry : *entries)
    if (entry.name.size() == 2 && (entry.is_directory() || entry.mode == 0))
      directories.push_back(top + "/" + entry.name);
  // Some at once, for a server that is far away; `each` is called by this thread only.
  for (size_t first = 0; first < directories.size(); first += kDirectoriesAtOnce) {
    std::vector<std::vector<FileInfo>> found(
        std::min(kDirectoriesAtOnce, directories.size() - first));
    base::for_each_parallel("list", kListers, found.size(), [&](size_t i) {
      const std::string& directory = directories[first + i];
      const auto inside =
          reach(what, [&](Session& session) { return session.list(beneath(directory)); });
      if (inside) found[i] = files_in(kind, directory, *inside);
    });
    for (const auto& files : found)
      for (const FileInfo& file : files) each(file);
  }
}

void SftpStore::remove(const Name& name) {
  reach("remove " + to_string(name) + " from",
        [&](Session& session) { session.remove(path_of(name)); });
}

}  // namespace davit::store
