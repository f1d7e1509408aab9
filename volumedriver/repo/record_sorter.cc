#include "repo/record_sorter.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <utility>

#include "base/crew.h"
#include "base/errors.h"
#include "base/mapped_file.h"

namespace davit::repo {

namespace {

// Until the end the highest bit of a record's pack tells a tree.
constexpr uint32_t kTree = RecordSorter::kMaxPacks;

using Records = std::vector<IndexRecord>;

// Records in the order of their partitions.
struct Run {
  uint64_t first = 0;  // number in the file
  Records kept;        // or, the last ones, here
  std::vector<uint32_t> starts;
};

struct Buffer {
  Records records, scattered;
};

// Sorts a partition: IDs that begin alike are next to each other after one pass, few at a time.
void sort_partition(Records& records, Records& scratch, std::vector<uint32_t>& starts,
                    unsigned known_bits) {
  unsigned bits = 1;
  while (bits < 20 && (size_t{1} << bits) < records.size()) ++bits;
  const auto bucket = [&](const IndexRecord& record) {
    return static_cast<size_t>(record.key() << known_bits >> (64 - bits));
  };
  starts.assign((size_t{1} << bits) + 1, 0);
  for (const auto& record : records) ++starts[bucket(record) + 1];
  for (size_t i = 1; i < starts.size(); ++i) starts[i] += starts[i - 1];
  scratch.resize(records.size());
  for (const auto& record : records) scratch[starts[bucket(record)]++] = record;
  // Each start is now the next one's.
  for (size_t i = 0, begin = 0; i + 1 < starts.size(); ++i) {
    if (starts[i] - begin > 1)
      std::sort(scratch.begin() + static_cast<ptrdiff_t>(begin), scratch.begin() + starts[i]);
    begin = starts[i];
  }
  records.swap(scratch);
}

// Lets parts that are made in any order take their places in the right one.
class Places {
 public:
  // Waits for the turn of `part`; returns where its `count` records begin.
  uint64_t take(size_t part, uint64_t count) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return next_ == part || stopped_; });
    if (stopped_) throw base::Cancelled();
    ++next_;
    changed_.notify_all();
    return std::exchange(end_, end_ + count);
  }
  void stop() {
    const std::lock_guard lock(mutex_);
    stopped_ = true;
    changed_.notify_all();
  }
  uint64_t end() const { return end_; }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  size_t next_ = 0;
  uint64_t end_ = 0;
  bool stopped_ = false;
};

}  // namespace

struct RecordSorter::State {
  // Constant.
  unsigned bits = 0;  // the partitions are 2^bits for each type
  base::Fd file;

  std::mutex mutex;  // of the next three
  std::vector<std::unique_ptr<Buffer>> free;
  std::vector<Run> runs;
  uint64_t in_file = 0;

  base::MappedFile mapped;  // once all is there

  size_t partitions() const { return size_t{1} << bits; }
  size_t partition(const IndexRecord& record) const {
    return (record.pack & kTree ? partitions() : 0) + (record.key() >> 1 >> (63 - bits));
  }

  std::unique_ptr<Buffer> take() {
    {
      const std::lock_guard lock(mutex);
      if (!free.empty()) {
        auto buffer = std::move(free.back());
        free.pop_back();
        return buffer;
      }
    }
    auto buffer = std::make_unique<Buffer>();
    buffer->records.reserve(kBufferRecords);  // untouched memory is none
    return buffer;
  }
  void give(std::unique_ptr<Buffer> buffer) {
    const std::lock_guard lock(mutex);
    free.push_back(std::move(buffer));
  }

  void push(Buffer& buffer, const IndexRecord& record) {
    buffer.records.push_back(record);
    if (buffer.records.size() == kBufferRecords) end_run(buffer, true);
  }

  void end_run(Buffer& buffer, bool to_file) {
    Run run;
    run.starts.assign(2 * partitions() + 1, 0);
    for (const auto& record : buffer.records) ++run.starts[partition(record) + 1];
    for (size_t i = 1; i < run.starts.size(); ++i) run.starts[i] += run.starts[i - 1];
    buffer.scattered.resize(buffer.records.size());
    std::vector<uint32_t> next(run.starts.begin(), run.starts.end() - 1);
    for (const auto& record : buffer.records) buffer.scattered[next[partition(record)]++] = record;
    buffer.records.clear();
    if (!to_file) {
      run.kept = std::exchange(buffer.scattered, {});
    } else {
      {
        const std::lock_guard lock(mutex);
        run.first = std::exchange(in_file, in_file + buffer.scattered.size());
      }
      base::pwrite_all(file.get(),
                       {reinterpret_cast<const uint8_t*>(buffer.scattered.data()),
                        buffer.scattered.size() * sizeof(IndexRecord)},
                       run.first * sizeof(IndexRecord));
    }
    const std::lock_guard lock(mutex);
    runs.push_back(std::move(run));
  }

  void end_adding() {
    for (auto& buffer : free)
      if (!buffer->records.empty()) end_run(*buffer, false);
    free.clear();
    if (in_file > 0 && mapped.bytes().empty())
      mapped = base::MappedFile(file.get(), in_file * sizeof(IndexRecord));
  }

  std::span<const IndexRecord> piece(const Run& run, size_t partition) const {
    const uint32_t begin = run.starts[partition], end = run.starts[partition + 1];
    const IndexRecord* const all =
        run.kept.empty() ? reinterpret_cast<const IndexRecord*>(mapped.bytes().data()) + run.first
                         : run.kept.data();
    return {all + begin, all + end};
  }
};

RecordSorter::RecordSorter(base::Fd file, uint64_t expected) : state_(std::make_unique<State>()) {
  state_->file = std::move(file);
  while (state_->bits < 12 && expected >> state_->bits > kPartitionRecords) ++state_->bits;
}

RecordSorter::~RecordSorter() = default;

void RecordSorter::add(uint32_t pack, std::span<const PackBlob> blobs) {
  DAVIT_CHECK(pack < kMaxPacks);
  auto buffer = state_->take();
  for (const PackBlob& blob : blobs)
    state_->push(*buffer, {blob.id, blob.type == BlobType::tree ? pack | kTree : pack,
                           blob.offset_bytes, blob.length_bytes, blob.plain_length_bytes});
  state_->give(std::move(buffer));
}

uint64_t RecordSorter::finish(BlobType type, std::span<const uint32_t> renumber, const More& more,
                              const Take& take) {
  state_->end_adding();
  const size_t partitions = state_->partitions();
  const size_t first = type == BlobType::tree ? partitions : 0;
  std::atomic<size_t> next{0};
  Places places;
  base::Crew crew([&] {
    next = partitions;
    places.stop();
  });
  const auto work = [&] {
    Records records, scratch;
    std::vector<uint32_t> starts;
    for (size_t i; (i = next.fetch_add(1)) < partitions;) {
      records.clear();
      for (const Run& run : state_->runs)
        for (IndexRecord record : state_->piece(run, first + i)) {
          record.pack &= ~kTree;
          if (!renumber.empty()) record.pack = renumber[record.pack];
          records.push_back(record);
        }
      const uint64_t low = i << 1 << (63 - state_->bits);
      if (more) more(low, low | (~uint64_t{0} >> state_->bits), records);
      if (records.size() > 1) sort_partition(records, scratch, starts, state_->bits);
      take(places.take(i, records.size()), records);
    }
  };
  const size_t threads = std::min<size_t>(base::processor_count(), partitions);
  for (size_t i = 0; i < threads; ++i) crew.start("sort", work);
  crew.join();
  return places.end();
}

}  // namespace davit::repo
