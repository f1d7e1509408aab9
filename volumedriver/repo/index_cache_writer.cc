#include "repo/index_cache_writer.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <numeric>

#include "base/checksum.h"
#include "base/crew.h"
#include "base/fault.h"
#include "base/fd.h"
#include "base/files.h"

namespace davit::repo {

namespace {

std::string directory_of(const std::string& path) {
  const size_t slash = path.rfind('/');
  return slash == std::string::npos ? "." : path.substr(0, std::max<size_t>(slash, 1));
}

// Only for what touches the cache's own files.
template <typename Do>
auto own_files(Do&& act) {
  try {
    return act();
  } catch (const base::IoError& error) {
    throw IndexCacheWriter::Unusable(error.what());
  }
}

template <typename T>
base::ByteView bytes_of(std::span<const T> items) {
  return {reinterpret_cast<const uint8_t*>(items.data()), items.size_bytes()};
}

// Gone unless it is kept.
class Temporary {
 public:
  // For a file at `path`, or, where that is "", in memory.
  explicit Temporary(const std::string& path)
      : path_(path),
        name_(path + ".tmp-" + base::make_uuid().substr(0, 8)),
        file_(path.empty() ? base::make_memory_file()
                           : base::open_file(name_, O_RDWR | O_CREAT | O_EXCL, 0600)) {}
  ~Temporary() {
    if (!is_kept_ && !path_.empty()) ::unlink(name_.c_str());
  }
  int fd() const { return file_.get(); }
  void keep() {
    if (path_.empty()) return;
    if (::fsync(fd()) != 0) base::throw_errno("cannot sync " + name_, errno);
    base::fault_point("index_cache:synced");
    if (::rename(name_.c_str(), path_.c_str()) != 0)
      base::throw_errno("cannot rename to " + path_, errno);
    is_kept_ = true;
    base::fault_point("index_cache:renamed");
    base::sync_directory(directory_of(path_));
  }

 private:
  const std::string path_, name_;
  const base::Fd file_;
  bool is_kept_ = false;
};

}  // namespace

IndexCacheWriter::IndexCacheWriter(std::string path, const base::Id& repository,
                                   uint64_t expected_blobs)
    : path_(std::move(path)), repository_(repository) {
  own_files([&] {
    if (!path_.empty()) base::make_directories(directory_of(path_));
    sorter_ = std::make_unique<RecordSorter>(
        path_.empty() ? base::make_memory_file() : base::make_unnamed_file(directory_of(path_)),
        expected_blobs);
  });
}

std::pair<uint32_t, bool> IndexCacheWriter::add_pack(const IndexedPack& pack) {
  const std::lock_guard lock(mutex_);
  if (const auto known = packs_.find(pack)) return {*known, false};
  return {packs_.add(pack), true};
}

void IndexCacheWriter::add_records(uint32_t pack, std::span<const PackBlob> blobs) {
  own_files([&] { sorter_->add(pack, blobs); });
}

void IndexCacheWriter::add_file(const base::Id& file, std::vector<uint32_t> packs) {
  const std::lock_guard lock(mutex_);
  files_.push_back({file, std::move(packs)});
}

void IndexCacheWriter::add_file(const base::Id& file, const IndexFileContent& content) {
  std::vector<uint32_t> numbers;
  for (const auto& described : content.packs) {
    const auto blobs = content.blobs_of(described);
    if (blobs.empty()) continue;
    IndexedPack pack{.id = described.id};
    for (const PackBlob& blob : blobs) pack.count(blob);
    const auto [number, is_new] = add_pack(pack);
    numbers.push_back(number);
    if (is_new) add_records(number, blobs);
  }
  add_file(file, std::move(numbers));
}

// The file while it is written: records first, from many threads.
class IndexCacheWriter::Output {
 public:
  Output(const std::string& path, const base::Id& repository) : file_(path) {
    std::memcpy(header_.magic, IndexCache::Header::kMagic, sizeof header_.magic);
    header_.repository = repository;
  }

  void write_records(BlobType type, RecordSorter& sorter, std::span<const uint32_t> renumber,
                     const RecordSorter::More& more) {
    const uint64_t offset = header_.tables_offset();
    header_.records[static_cast<size_t>(type)] = sorter.finish(
        type, renumber, more, [&](uint64_t first, std::span<const IndexRecord> records) {
          base::pwrite_all(file_.fd(), bytes_of(records), offset + first * sizeof(IndexRecord));
        });
    base::fault_point("index_cache:records");
    // The last block is filled up with zeros.
    if (::ftruncate(file_.fd(), static_cast<off_t>(header_.tables_offset())) != 0)
      base::throw_errno("cannot extend the index cache", errno);
  }

  void write_tables(std::span<const IndexedPack> packs, std::span<const IndexCache::File> files,
                    std::span<const uint32_t> file_packs) {
    header_.packs = packs.size();
    header_.files = files.size();
    header_.file_packs = file_packs.size();
    base::Bytes tables;
    base::append(tables, bytes_of(packs));
    base::append(tables, bytes_of(files));
    const size_t blocks = header_.blocks();
    std::vector<uint64_t> keys(blocks), checksums(blocks);
    read_blocks(keys, checksums);
    base::append(tables, bytes_of(std::span<const uint64_t>(keys)));
    base::append(tables, bytes_of(std::span<const uint64_t>(checksums)));
    base::append(tables, bytes_of(file_packs));
    base::pwrite_all(file_.fd(), tables, header_.tables_offset());
    header_.tables_checksum = base::xxh64(tables);
  }

  std::shared_ptr<const IndexCache> finish() {
    base::Bytes first(IndexCache::Header::kSize);
    std::fill(first.begin(), first.end(), uint8_t{0});
    const base::ByteView header(reinterpret_cast<const uint8_t*>(&header_), sizeof header_);
    header_.checksum = base::xxh64(header.first(offsetof(IndexCache::Header, checksum)));
    std::copy(header.begin(), header.end(), first.begin());
    base::fault_point("index_cache:tables");
    base::pwrite_all(file_.fd(), first, 0);
    file_.keep();
    return IndexCache::open(file_.fd(), header_.repository, [](const char* why) {
      throw Unusable(std::string("the index cache cannot be used as it was written: ") + why);
    });
  }

 private:
  void read_blocks(std::vector<uint64_t>& keys, std::vector<uint64_t>& checksums) {
    constexpr size_t kAtOnce = 64;
    base::for_each_parallel(
        "index cache", base::processor_count(), (keys.size() + kAtOnce - 1) / kAtOnce,
        [&](size_t part) {
          const size_t first = part * kAtOnce, last = std::min(first + kAtOnce, keys.size());
          std::vector<IndexRecord> records((last - first) * IndexCache::kBlock);
          base::pread_up_to(
              file_.fd(),
              {reinterpret_cast<uint8_t*>(records.data()), records.size() * sizeof(IndexRecord)},
              IndexCache::Header::kSize + first * IndexCache::kBlock * sizeof(IndexRecord));
          for (size_t block = first; block < last; ++block) {
            const auto all = std::span<const IndexRecord>(records).subspan(
                (block - first) * IndexCache::kBlock, IndexCache::kBlock);
            keys[block] = all.front().key();
            checksums[block] = base::xxh64(bytes_of(all));
          }
        });
  }

  Temporary file_;
  IndexCache::Header header_{};
};

std::shared_ptr<const IndexCache> IndexCacheWriter::finish(const IndexCache* former,
                                                           std::span<const uint32_t> former_packs) {
  // Packs get their final numbers in the order of their IDs.
  const std::vector<IndexedPack>& packs = packs_.all();
  std::vector<uint32_t> order(packs.size()), renumber(packs.size());
  std::iota(order.begin(), order.end(), 0u);
  std::sort(order.begin(), order.end(),
            [&](uint32_t a, uint32_t b) { return packs[a] < packs[b]; });
  std::vector<IndexedPack> sorted;
  sorted.reserve(packs.size());
  for (uint32_t i = 0; i < order.size(); ++i) {
    renumber[order[i]] = i;
    sorted.push_back(packs[order[i]]);
  }
  std::sort(files_.begin(), files_.end(), [](const File& a, const File& b) { return a.id < b.id; });
  std::vector<IndexCache::File> files;
  std::vector<uint32_t> file_packs;
  for (const File& file : files_) {
    files.push_back({file.id, file_packs.size(), file.packs.size()});
    for (const uint32_t pack : file.packs) file_packs.push_back(renumber[pack]);
  }

  return own_files([&] {
    Output output(path_, repository_);
    for (const BlobType type : {BlobType::tree, BlobType::data}) {
      RecordSorter::More more;
      if (former != nullptr)
        more = [&, type](uint64_t low, uint64_t high, std::vector<IndexRecord>& append_to) {
          former->for_range(type, low, high, [&](IndexRecord record) {
            const uint32_t pack = former_packs[record.pack];
            if (pack == kGone) return;
            record.pack = renumber[pack];
            append_to.push_back(record);
          });
        };
      output.write_records(type, *sorter_, renumber, more);
    }
    sorter_.reset();
    output.write_tables(sorted, files, file_packs);
    return output.finish();
  });
}

}  // namespace davit::repo
