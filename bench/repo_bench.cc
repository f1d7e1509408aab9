// How fast blobs go into packs, and how fast an index is loaded: the repository's own part of a
// backup, without reading files. Prints one line a figure.
//   repo_bench [threads] [MiB]
#include <sys/resource.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <thread>

#include "base/crew.h"
#include "crypto/sha256.h"
#include "repo/index_file.h"
#include "repo/upload.h"
#include "support/memory_store.h"
#include "support/test_repository.h"

namespace {

using namespace davit;

// Keeps nothing, so that the store costs nothing.
class NullStore : public test::MemoryStore {
 public:
  void put(const store::Name&, std::span<const base::ByteView>) override {}
  unsigned connections() const override { return 2; }
};

double cpu_seconds() {
  rusage usage;
  ::getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) * 1e-6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

void measure(const char* name, double amount, const char* unit, const std::function<void()>& work) {
  const double cpu = cpu_seconds();
  const auto start = std::chrono::steady_clock::now();
  work();
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  std::printf("%-44s %8.2f s %8.2f s CPU %10.1f %s/s\n", name, took.count(), cpu_seconds() - cpu,
              amount / took.count(), unit);
}

long resident_mib() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with("VmRSS:")) return std::atol(line.c_str() + 6) / 1024;
  return 0;
}

void upload(const char* name, const base::Bytes& data, size_t blob, unsigned threads,
            size_t rounds) {
  const auto repository = test::make_repository(std::make_shared<NullStore>());
  const double mib = static_cast<double>(data.size()) * static_cast<double>(rounds) / 1048576;
  measure(name, mib, "MiB", [&] {
    repo::UploadSession session(*repository);
    const size_t per_round = data.size() / blob;
    base::for_each_parallel("save", threads, per_round * rounds, [&](size_t i) {
      const size_t at = i % per_round * blob;
      // Another blob each round.
      thread_local base::Bytes mine;
      mine.assign(data.begin() + static_cast<ptrdiff_t>(at),
                  data.begin() + static_cast<ptrdiff_t>(at + blob));
      base::store_le64(mine.data(), i);
      session.save_blob(repo::BlobType::data, mine);
    });
    session.finish();
  });
}

void load_index(size_t blobs) {
  const auto store = std::make_shared<test::MemoryStore>();
  {
    const auto writer = test::make_repository(store);
    for (uint64_t file = 0; file * 50'000 < blobs; ++file) {
      repo::IndexEncoder encoder;
      for (uint64_t pack = 0; pack < 500; ++pack) {
        std::vector<repo::PackBlob> list(100);
        for (uint64_t i = 0; i < list.size(); ++i) {
          const uint64_t number = (file * 500 + pack) * 100 + i;
          const base::Id id = crypto::sha256({reinterpret_cast<const uint8_t*>(&number), 8});
          list[i] = {repo::BlobType::data, id, static_cast<uint32_t>(i * 150'000), 150'000,
                     400'000};
        }
        const uint64_t number = ~(file * 500 + pack);
        encoder.add(crypto::sha256({reinterpret_cast<const uint8_t*>(&number), 8}), list);
      }
      writer->save_unpacked(store::Kind::index, encoder.finish());
    }
  }
  const auto repository = test::make_repository(store);
  const long before = resident_mib();
  measure("load an index", static_cast<double>(blobs) / 1e6, "M blobs",
          [&] { repository->refresh_index(); });
  std::printf("%-44s %8ld MiB for %.1f M blobs\n", "  memory", resident_mib() - before,
              static_cast<double>(repository->index().blob_count()) / 1e6);
  std::vector<base::Id> ids;
  repository->index().for_each([&](const repo::IndexEntry& e) {
    if (ids.size() < 1'000'000) ids.push_back(e.id);
  });
  measure("look up known blobs", static_cast<double>(ids.size()) / 1e6, "M", [&] {
    for (const auto& id : ids)
      if (!repository->index().contains(repo::BlobType::data, id)) std::abort();
  });
}

}  // namespace

int main(int count, char** arguments) {
  const unsigned threads =
      count > 1 ? static_cast<unsigned>(std::atoi(arguments[1])) : base::processor_count();
  const size_t mib = count > 2 ? static_cast<size_t>(std::atoi(arguments[2])) : 1024;
  const size_t rounds = std::max<size_t>(1, mib / 64);
  const auto random = test::random_bytes(64 << 20, 1), rows = test::compressible_bytes(64 << 20, 2);
  upload("random, blobs of 1.5 MiB", random, 1'500'000, threads, rounds);
  upload("rows, blobs of 1.5 MiB", rows, 1'500'000, threads, rounds);
  upload("random, blobs of 4 KiB", random, 4096, threads, rounds / 2 + 1);
  upload("rows, blobs of 4 KiB", rows, 4096, threads, rounds / 2 + 1);
  load_index(2'000'000);
}
