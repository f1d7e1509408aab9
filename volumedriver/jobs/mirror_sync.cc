#include "jobs/mirror_sync.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <condition_variable>
#include <iterator>

#include "base/crew.h"
#include "base/errors.h"
#include "base/log.h"
#include "base/patience.h"
#include "crypto/seal.h"
#include "crypto/sha256.h"
#include "repo/small_files.h"

namespace davit::jobs {

namespace {

using base::Bytes;
using base::Id;
using store::FileInfo;
using store::Kind;
using store::Name;

constexpr uint64_t kLargestFile = uint64_t{1} << 30;
constexpr int kRounds = 5;

using Files = std::vector<FileInfo>;  // sorted by ID
using Ids = std::vector<Id>;          // sorted

// In the order in which files are copied; removed are the first three backwards, then keys.
constexpr std::array kCopied{Kind::key, Kind::data, Kind::index, Kind::snapshot};
constexpr std::array kRemoved{Kind::snapshot, Kind::index, Kind::data, Kind::key};

struct Lists {
  std::array<Files, 6> files;
  Files& of(Kind kind) { return files[static_cast<size_t>(kind)]; }
};

Ids& of(std::array<Ids, 6>& ids, Kind kind) {
  return ids[static_cast<size_t>(kind)];
}

bool before(const FileInfo& a, const FileInfo& b) {
  return a.id < b.id;
}

bool holds(const Files& files, const Id& id) {
  return std::binary_search(files.begin(), files.end(), FileInfo{id, 0}, before);
}

Files list(store::Store& store, Kind kind) {
  Files files;
  store.list(kind, [&](const FileInfo& file) { files.push_back(file); });
  std::sort(files.begin(), files.end(), before);
  files.erase(std::unique(files.begin(), files.end(),
                          [](const auto& a, const auto& b) { return a.id == b.id; }),
              files.end());
  return files;
}

// What `from` has and `to` has not, or with another size.
Files missing_in(const Files& to, const Files& from) {
  Files missing;
  for (const FileInfo& file : from) {
    const auto found = std::lower_bound(to.begin(), to.end(), file, before);
    if (found == to.end() || found->id != file.id || found->size_bytes != file.size_bytes)
      missing.push_back(file);
  }
  return missing;
}

class Sync {
 public:
  Sync(const repo::Repository& repository, store::MirrorStore& stores, size_t mirror,
       MirrorBook& book, const MirrorSyncOptions& options)
      : repository_(repository),
        stores_(stores),
        number_(mirror),
        primary_(stores.primary()),
        mirror_(*stores.mirror(mirror).store),
        book_(book),
        options_(options),
        place_(mirror_.describe()),
        there_(repository.in(stores.mirror(mirror).store)) {}

  MirrorSyncResult run() {
    recognise();
    if (options_.first && !stores_.stands_in())
      remove_locks([&](const repo::LockInfo& info) { return options_.is_ours(info); });
    for (int round = 1; !copy_all(); ++round)
      if (round == kRounds)
        throw base::IoError("the repository changes faster than " + place_ + " can follow", 0,
                            true);
    lock_.reset();
    if (!damaged_.empty()) {
      std::string first = damaged_.front();
      throw base::Corrupt(std::to_string(damaged_.size()) + " files of " + primary_.describe() +
                          " are damaged, so that " + place_ +
                          " does not get them; the first: " + first + " (davit check tells more)");
    }
    remove_all();
    book_.note_in_sync(place_, options_.clock->now(), note_);
    return result_;
  }

 private:
  void check_stop() const {
    if (options_.stop.stop_requested()) throw base::Cancelled();
    if (lock_ && lock_->lost().stop_requested())
      throw base::IoError("the lock on the mirror " + place_ + " was lost", 0, true);
  }

  bool is_our_config(base::ByteView sealed) const {
    try {
      return repo::parse_config(crypto::open(repository_.key(), sealed)) == repository_.config();
    } catch (const base::Error&) {
      return false;
    }
  }

  // The primary's, once it is known to be whole.
  Bytes config() {
    Bytes sealed = primary_.get({}, kLargestFile);
    if (!is_our_config(sealed) && repository_.heal({})) sealed = primary_.get({}, kLargestFile);
    if (!is_our_config(sealed))
      throw base::Corrupt("the config of " + primary_.describe() + " is damaged");
    return sealed;
  }

  // Whether it is a mirror of this repository, or a place where one can be made.
  void recognise() {
    using Match = store::MirrorStore::Match;
    const Bytes config = this->config();
    const auto seen = book_.seen(place_);
    // A bucket that is to be made does not even answer.
    if (!seen) mirror_.prepare();
    switch (stores_.compare(number_)) {
      case Match::same:
        book_.note_seen(place_, repository_.id().hex());
        return;
      case Match::other:
        if (!has_our_key())
          throw base::Conflict("the mirror " + place_ +
                               " holds another repository: it is left alone; take it out of "
                               "DAVIT_MIRRORS, or empty it");
        spdlog::warn(
            "the mirror {} has the keys of this repository and another config: that is damaged",
            place_);
        // Some servers let nobody write over it.
        if (!stores_.mirror(number_).is_append_only) mirror_.remove(Name{});
        break;
      case Match::none:
        if (seen)
          throw base::Conflict("the mirror " + place_ +
                               " was there before and is empty: is its file system mounted? (To "
                               "fill it anew: davit mirrors accept " +
                               place_ + ")");
        for (const Kind kind : {Kind::snapshot, Kind::index, Kind::data})
          if (!list(mirror_, kind).empty())
            throw base::Conflict("the mirror " + place_ + " has no config, but " +
                                 store::kind_name(kind) +
                                 " files: that is a damaged repository, not an empty place");
        break;
    }
    mirror_.put(Name{}, base::ByteView(config));
    if (stores_.compare(number_) != Match::same)
      throw base::IoError("the mirror " + place_ + " does not keep its config", 0, true);
    book_.note_seen(place_, repository_.id().hex());
    spdlog::info("{} is a mirror of {} from now on", place_, primary_.describe());
  }

  bool has_our_key() {
    const Files ours = list(primary_, Kind::key);
    const Files theirs = list(mirror_, Kind::key);
    return std::any_of(theirs.begin(), theirs.end(),
                       [&](const FileInfo& file) { return holds(ours, file.id); });
  }

  // ---- locks

  void remove_locks(const std::function<bool(const repo::LockInfo&)>& which) {
    for (const auto& info : repo::list_locks(*there_)) {
      if (!which(info)) continue;
      spdlog::info("removed a lock that {} left on the mirror {}", info.lock.hostname, place_);
      mirror_.remove({Kind::lock, info.id});
    }
  }

  void take_lock(repo::LockMode mode) {
    // Whoever is at work refreshes its lock every few minutes.
    remove_locks([](const repo::LockInfo& info) { return info.stale; });
    lock_ = repo::Lock::take(*there_, mode, options_.identity, options_.timing);
  }

  // ---- copying

  // False where a file vanished meanwhile: what was listed is no state of the repository.
  bool copy_all() {
    // The mirror first: what it has by then and the primary has not later was removed there.
    for (const Kind kind : kCopied) there_lists_.of(kind) = list(mirror_, kind);
    // What a snapshot needs was there before it, and so is in what is listed after it.
    for (const Kind kind : {Kind::snapshot, Kind::index, Kind::data, Kind::key})
      lists_.of(kind) = list(primary_, kind);
    if (lists_.of(Kind::key).empty())
      throw base::Conflict(primary_.describe() + " has no key: nothing is done to its mirrors");

    Lists wanted;
    uint64_t files = 0, bytes = 0;
    for (const Kind kind : kCopied) {
      wanted.of(kind) = missing_in(there_lists_.of(kind), lists_.of(kind));
      files += wanted.of(kind).size();
      for (const auto& file : wanted.of(kind)) bytes += file.size_bytes;
    }
    book_.note_behind(place_, files, bytes);
    if (options_.progress) {
      options_.progress->files_total = options_.progress->files_done + files;
      options_.progress->bytes_total = options_.progress->bytes_done + bytes;
    }
    damaged_.clear();
    if (files == 0) return true;
    behind_files_ = files;
    behind_bytes_ = bytes;
    if (!lock_) take_lock(repo::LockMode::shared);
    const auto journal = book_.journal(place_);
    for (const Kind kind : kCopied) {
      const Files& some = wanted.of(kind);
      // After the prune that the journal tells of, if it does: that did not break it.
      if (kind == Kind::snapshot && !some.empty() && journal->read().pruned)
        for (const auto& file : some) journal->add_known(file.id);
      vanished_ = false;
      base::for_each_parallel("mirror", mirror_.connections(), some.size(),
                              [&](size_t i) { copy(kind, some[i]); });
      if (vanished_) return false;
    }
    return true;
  }

  void copy(Kind kind, const FileInfo& file) {
    check_stop();
    const Name name{kind, file.id};
    const auto is_whole = [&](const Bytes& bytes) { return crypto::sha256(bytes) == file.id; };
    Bytes bytes;
    try {
      bytes = primary_.get(name, kLargestFile);
      if (!is_whole(bytes)) {
        if (repository_.heal(name)) bytes = primary_.get(name, kLargestFile);
        if (!is_whole(bytes)) throw base::Corrupt("it is not what its name says");
      }
    } catch (const base::NotFound&) {
      vanished_ = true;
      return;
    } catch (const base::Corrupt& error) {
      const std::lock_guard lock(mutex_);
      damaged_.push_back(store::to_string(name) + ": " + error.what());
      return;
    }
    if (options_.reserve_download) wait_until(options_.reserve_download(bytes.size()));
    if (options_.reserve) wait_until(options_.reserve(bytes.size()));
    mirror_.put(name, base::ByteView(bytes));
    if (options_.progress) {
      ++options_.progress->files_done;
      options_.progress->bytes_done += bytes.size();
    }
    const std::lock_guard lock(mutex_);
    ++result_.copied;
    result_.copied_bytes += bytes.size();
    --behind_files_;
    behind_bytes_ -= std::min<uint64_t>(behind_bytes_, file.size_bytes);
    book_.note_behind(place_, behind_files_, behind_bytes_);
  }

  void wait_until(std::chrono::steady_clock::time_point when) {
    std::mutex mutex;
    std::unique_lock lock(mutex);
    std::condition_variable_any never;
    never.wait_until(lock, options_.stop, when, [] { return false; });
    check_stop();
  }

  // ---- removing

  void remove_all() {
    const auto journal = book_.journal(place_);
    const auto content = journal->read();
    std::array<Ids, 6> noted, going;
    std::vector<Name> pending;
    for (const Name& name : content.removed) {
      of(noted, name.kind).push_back(name.id);
      // Noted, and not yet gone; or that came to nothing.
      if (holds(lists_.of(name.kind), name.id)) pending.push_back(name);
    }
    for (Ids& ids : noted) {
      std::sort(ids.begin(), ids.end());
      ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
    }
    const auto is_noted = [&](Kind kind, const Id& id) {
      const Ids& ids = of(noted, kind);
      return std::binary_search(ids.begin(), ids.end(), id);
    };
    Ids lost;
    for (const Kind kind : kRemoved)
      for (const auto& file : there_lists_.of(kind)) {
        if (holds(lists_.of(kind), file.id)) continue;
        const bool is_known =
            std::binary_search(content.known.begin(), content.known.end(), file.id);
        if (is_noted(kind, file.id) ||
            (kind == Kind::snapshot && content.pruned && !is_known))
          of(going, kind).push_back(file.id);
        else if (kind == Kind::snapshot)
          lost.push_back(file.id);
      }

    if (!lost.empty()) {
      note_ = std::to_string(lost.size()) + " snapshots are on the mirror only, the first " +
              lost.front().short_hex() + ": davit did not remove them from " + primary_.describe();
      spdlog::warn("{}: {}", place_, note_);
    }
    if (stores_.mirror(number_).is_append_only) {
      // They stay, and are no loss.
      for (const Id& id : of(noted, Kind::snapshot)) pending.push_back({Kind::snapshot, id});
      return journal->forget(content, pending);
    }
    if (std::any_of(going.begin(), going.end(), [](const Ids& ids) { return !ids.empty(); })) {
      try {
        take_lock(repo::LockMode::exclusive);
      } catch (const base::Locked& error) {
        for (const Kind kind : kRemoved)
          for (const Id& id : of(going, kind))
            if (!is_noted(kind, id)) journal->add({kind, id});
        result_.postponed = error.what();
        note_ = "what was removed is still there: " + result_.postponed;
        return;
      }
      for (const Kind kind : kRemoved) {
        const Ids& ids = of(going, kind);
        base::for_each_parallel("mirror", mirror_.connections(), ids.size(), [&](size_t i) {
          check_stop();
          mirror_.remove({kind, ids[i]});
        });
        result_.removed += ids.size();
      }
      // Also of a job that is told to stop now: else the lock would keep everybody out.
      const base::PatienceScope patience(base::Patience{});
      lock_->release();
      lock_.reset();
    }
    journal->forget(content, pending);
  }

  const repo::Repository& repository_;
  store::MirrorStore& stores_;
  const size_t number_;
  store::Store& primary_;
  store::Store& mirror_;
  MirrorBook& book_;
  const MirrorSyncOptions& options_;
  const std::string place_;
  const std::unique_ptr<repo::Repository> there_;  // the repository on the mirror, for its locks
  Lists lists_, there_lists_;                      // of the last round
  std::atomic<bool> vanished_{false};
  std::mutex mutex_;  // protects what follows, while files are copied
  MirrorSyncResult result_;
  std::vector<std::string> damaged_;
  uint64_t behind_files_ = 0, behind_bytes_ = 0;
  std::string note_;
  std::unique_ptr<repo::Lock> lock_;  // goes first: it uses there_
};

}  // namespace

MirrorSyncResult sync_mirror(const repo::Repository& repository, store::MirrorStore& stores,
                             size_t mirror, MirrorBook& book, const MirrorSyncOptions& options) {
  return Sync(repository, stores, mirror, book, options).run();
}

}  // namespace davit::jobs
