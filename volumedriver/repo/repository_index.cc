// How the repository's index is read and kept.
#include <algorithm>
#include <atomic>
#include <unordered_set>
#include <utility>

#include "base/crew.h"
#include "base/errors.h"
#include "repo/index_file.h"
#include "repo/repository.h"

namespace davit::repo {

namespace {

using base::Id;
using store::Kind;

// Above this, new index files go straight into the cache: some 80,000 blobs.
constexpr uint64_t kManyBytes = 4 << 20;
// What a blob takes in an index file, at least.
constexpr uint64_t kBytesPerBlob = 45;
// Each has an index file's JSON in memory, mostly 8 MiB.
constexpr unsigned kMostThreads = 8;

}  // namespace

void Repository::load_index_file(const Id& file, IndexFileContent& content) const {
  const base::Bytes json = load_unpacked(Kind::index, file);
  try {
    parse_index(json, content);
  } catch (const base::Corrupt& error) {
    throw base::Corrupt("index " + file.hex() + " is damaged: " + error.what());
  }
}

void Repository::use_index_cache(const std::string& directory, const Index::Limits& limits) {
  index_cache_directory_ = directory;
  index_->use_cache(directory + "/index", id(), limits, [this] { read_index(true); });
}

void Repository::refresh_index() {
  read_index(false);
  index_->settle();
}

// `from_scratch`: what is known from before is not believed.
void Repository::read_index(bool from_scratch) {
  const std::lock_guard one(refreshing_);
  constexpr int kTries = 5;
  for (int again = 0;; ++again) {
    // What a session adds from here on may not be in the listing, and must stay.
    const std::vector<Id> known = index_->files();
    std::unordered_set<Id> listed;
    std::vector<Id> missing;
    uint64_t missing_bytes = 0;
    store_->list(Kind::index, [&](const store::FileInfo& file) {
      listed.insert(file.id);
      if (!from_scratch && index_->has_file(file.id)) return;
      missing.push_back(file.id);
      missing_bytes += file.size_bytes;
    });
    std::atomic<bool> vanished{false};
    const auto read_missing = [&](const auto& add) {
      base::for_each_parallel("index", std::min(base::processor_count(), kMostThreads),
                              missing.size(), [&](size_t i) {
                                IndexFileContent content;
                                try {
                                  load_index_file(missing[i], content);
                                } catch (const base::NotFound&) {
                                  if (again == kTries) throw;
                                  vanished = true;  // replaced since the listing: list again
                                  return;
                                }
                                add(missing[i], content);
                              });
    };
    if (from_scratch || (index_->has_cache() && missing_bytes > kManyBytes)) {
      const auto into_cache = [&](IndexCacheWriter& writer) {
        read_missing([&](const Id& file, const IndexFileContent& content) {
          writer.add_file(file, content);
        });
      };
      try {
        index_->write_cache(missing_bytes / kBytesPerBlob, into_cache, from_scratch);
      } catch (const IndexCache::Damaged&) {
        from_scratch = true;
        continue;
      }
      from_scratch = false;
    } else {
      read_missing([&](const Id& file, const IndexFileContent& content) {
        index_->add_file(file, content);
      });
    }
    if (vanished) continue;
    // New before old, so that no blob is missing in between.
    for (const Id& file : known)
      if (!listed.contains(file)) index_->drop_file(file);
    return;
  }
}

}  // namespace davit::repo
