// How fast blobs go into packs: the repository's own part of a backup, without reading files. Prints
// one line a figure. (Loading an index: index_bench.cc.)
//   repo_bench [threads] [MiB]
#include <sys/resource.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>

#include "base/crew.h"
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
}
