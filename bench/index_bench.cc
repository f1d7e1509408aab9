// A repository of millions of blobs without any: an index that says they are there, and how long it
// takes to open it. What bench/open_index.py sets beside restic. The password is RESTIC_PASSWORD's.
//   davit-index-bench make REPOSITORY BLOBS
//   davit-index-bench open REPOSITORY CACHE_DIRECTORY    with a cache there, or without one
//   davit-index-bench upkeep REPOSITORY CACHE_DIRECTORY  the table that check and prune make
// Prints as JSON how long opening the repository took (its scrypt; a daemon does that once) and how
// long reading the index.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>

#include "base/crew.h"
#include "base/errors.h"
#include "crypto/sha256.h"
#include "repo/index_file.h"
#include "repo/repository.h"
#include "store/open.h"
#include "upkeep/blob_table.h"

namespace {

using namespace davit;

constexpr uint64_t kPacksPerFile = 500, kBlobsPerPack = 100;

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

std::string password() {
  const char* word = std::getenv("RESTIC_PASSWORD");
  if (word == nullptr) throw base::UsageError("set RESTIC_PASSWORD");
  return word;
}

base::Id name(uint64_t number) {
  return crypto::sha256({reinterpret_cast<const uint8_t*>(&number), sizeof number});
}

// Sizes as a volume's files have them: small ones and chunks, compressed more or less.
base::Bytes index_file(uint64_t file) {
  std::mt19937_64 random(file);
  repo::IndexEncoder encoder;
  for (uint64_t pack = file * kPacksPerFile; pack < (file + 1) * kPacksPerFile; ++pack) {
    std::vector<repo::PackBlob> blobs(kBlobsPerPack);
    uint32_t offset = 0;
    for (uint64_t i = 0; i < blobs.size(); ++i) {
      const uint32_t plain = static_cast<uint32_t>(200 + random() % 300'000);
      const uint32_t length = static_cast<uint32_t>(40 + random() % plain);
      const auto type = pack % 20 == 0 ? repo::BlobType::tree : repo::BlobType::data;
      blobs[i] = {type, name(pack * kBlobsPerPack + i), offset, length, plain};
      offset += length;
    }
    encoder.add(name(~pack), blobs);
  }
  return encoder.finish();
}

void make(const std::string& place, uint64_t blobs) {
  const auto repository = repo::Repository::init(store::open_store(place), password());
  const size_t files =
      (blobs + kPacksPerFile * kBlobsPerPack - 1) / (kPacksPerFile * kBlobsPerPack);
  base::for_each_parallel("make", base::processor_count(), files, [&](size_t i) {
    repository->save_unpacked(store::Kind::index, index_file(i));
  });
}

// Every blob that the seed makes must be found, and no other.
void look_up(const repo::Repository& repository, uint64_t blobs) {
  constexpr uint64_t kProbes = 200'000;
  std::vector<base::Id> known, unknown;
  for (uint64_t i = 0; i < kProbes; ++i) {
    known.push_back(name(i * 7919 % blobs));
    unknown.push_back(name(blobs + (uint64_t{1} << 40) + i));
  }
  const auto probe = [&](const std::vector<base::Id>& ids, bool wanted) {
    const auto start = std::chrono::steady_clock::now();
    for (const base::Id& id : ids)
      if ((repository.index().contains(repo::BlobType::data, id) ||
           repository.index().contains(repo::BlobType::tree, id)) != wanted)
        throw base::Error("a look-up gave a wrong answer");
    return seconds_since(start) / static_cast<double>(ids.size()) * 1e9;
  };
  const double first = probe(known, true), again = probe(known, true), none = probe(unknown, false);
  std::printf(
      "{\"blobs\": %llu, \"first_look_up_ns\": %.0f, \"look_up_ns\": %.0f, "
      "\"miss_ns\": %.0f}\n",
      static_cast<unsigned long long>(blobs), first, again, none);
}

int run(const std::string& command, const std::string& place, const std::string& last) {
  if (command == "make") {
    make(place, std::strtoull(last.c_str(), nullptr, 10));
    return 0;
  }
  auto start = std::chrono::steady_clock::now();
  const auto repository = repo::Repository::open(store::open_store(place), password());
  const double opening = seconds_since(start);
  start = std::chrono::steady_clock::now();
  repository->use_index_cache(last);
  size_t blobs = 0;
  if (command == "open") {
    repository->refresh_index();
    blobs = repository->index().blob_count();
  } else if (command == "upkeep") {
    const auto files = upkeep::list_ids(repository->store(), store::Kind::index);
    blobs = upkeep::BlobTable::load(*repository, files).size();
  } else {
    return 2;
  }
  std::printf("{\"open_seconds\": %.6f, \"index_seconds\": %.6f}\n", opening, seconds_since(start));
  std::fflush(stdout);
  if (command == "open") look_up(*repository, blobs);
  return 0;
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 4) {
    std::fprintf(stderr, "davit-index-bench make|open|upkeep REPOSITORY BLOBS|CACHE_DIRECTORY\n");
    return 2;
  }
  try {
    return run(arguments[1], arguments[2], arguments[3]);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "davit-index-bench: %s\n", error.what());
    return 1;
  }
}
