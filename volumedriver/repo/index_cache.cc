#include "repo/index_cache.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>

#include "base/checksum.h"
#include "base/errors.h"
#include "base/fd.h"

namespace davit::repo {

namespace {

// More of anything does not occur, and sums of so many bytes cannot overflow.
constexpr uint64_t kMost = uint64_t{1} << 48;

// Where among `size` evenly spread ones this key would be.
size_t share_of(size_t size, uint64_t key) {
  return static_cast<size_t>(static_cast<unsigned __int128>(size) * key >> 64);
}

// The first of the sorted keys that is above `key`, looked for around `guess`.
size_t first_above(std::span<const uint64_t> keys, uint64_t key, size_t guess) {
  size_t low = guess, high = guess;  // keys before low are not above; those from high on are
  for (size_t step = 1; low > 0 && keys[low - 1] > key; step *= 2) {
    high = low - 1;
    low -= std::min(low, step);
  }
  for (size_t step = 1; high < keys.size() && keys[high] <= key; step *= 2) {
    low = high + 1;
    high += std::min(keys.size() - high, step);
  }
  return static_cast<size_t>(std::upper_bound(keys.begin() + static_cast<ptrdiff_t>(low),
                                              keys.begin() + static_cast<ptrdiff_t>(high), key) -
                             keys.begin());
}

}  // namespace

std::shared_ptr<const IndexCache> IndexCache::open(
    const std::string& path, const base::Id& repository,
    const std::function<void(const char* why)>& why) {
  const base::Fd file(::open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  if (file) return open(file.get(), repository, why);
  if (errno != ENOENT && errno != ENOTDIR) why("it cannot be opened");
  return nullptr;
}

std::shared_ptr<const IndexCache> IndexCache::open(
    int file, const base::Id& repository, const std::function<void(const char* why)>& why) {
  std::shared_ptr<IndexCache> cache(new IndexCache);
  const char* reason = "it cannot be read";
  try {
    reason = cache->load(file, repository);
  } catch (const base::IoError&) {  // the reason that stands there
  }
  if (reason == nullptr) return cache;
  why(reason);
  return nullptr;
}

const char* IndexCache::load(int file, const base::Id& repository) {
  struct stat status;
  if (::fstat(file, &status) != 0) return "it cannot be read";
  if (!S_ISREG(status.st_mode)) return "it is no file";
  const uint64_t size = static_cast<uint64_t>(status.st_size);
  if (size < Header::kSize) return "it is cut short";

  Header header;
  base::Bytes first(Header::kSize);
  if (base::pread_up_to(file, first, 0) != first.size()) return "it is cut short";
  std::memcpy(&header, first.data(), sizeof header);
  if (std::memcmp(header.magic, Header::kMagic, sizeof header.magic) != 0)
    return "it has another format";
  if (base::xxh64(base::ByteView(first).first(offsetof(Header, checksum))) != header.checksum ||
      std::any_of(first.begin() + sizeof header, first.end(), [](uint8_t b) { return b != 0; }))
    return "its header is damaged";
  if (header.repository != repository) return "it is another repository's";
  for (const uint64_t count :
       {header.records[0], header.records[1], header.packs, header.files, header.file_packs})
    if (count >= kMost) return "its header is damaged";
  if (header.tables_offset() + header.tables_size() != size) return "it has another length";

  file_ = base::MappedFile(file, size);
  const base::ByteView tables = file_.bytes().subspan(header.tables_offset());
  if (base::xxh64(tables) != header.tables_checksum) return "its tables are damaged";
  const uint8_t* at = tables.data();
  const auto take = [&]<typename T>(std::span<const T>& table, uint64_t count) {
    table = {reinterpret_cast<const T*>(at), count};
    at += count * sizeof(T);
  };
  take(packs_, header.packs);
  take(files_, header.files);
  take(keys_, header.blocks());
  take(checksums_, header.blocks());
  take(file_packs_, header.file_packs);
  for (const File& named : files_)
    if (named.first_pack > file_packs_.size() ||
        named.packs > file_packs_.size() - named.first_pack)
      return "its tables are damaged";
  for (const uint32_t pack : file_packs_)
    if (pack >= packs_.size()) return "its tables are damaged";

  records_ = reinterpret_cast<const IndexRecord*>(file_.bytes().data() + Header::kSize);
  for (size_t block = 0; const BlobType type : {BlobType::tree, BlobType::data}) {
    types_[static_cast<size_t>(type)] = {records_ + block * kBlock,
                                         header.records[static_cast<size_t>(type)], block,
                                         header.blocks(type)};
    block += header.blocks(type);
  }
  verified_ = std::vector<std::atomic<uint64_t>>(header.blocks() / 64 + 1);
  return nullptr;
}

void IndexCache::verify_first(size_t block) const {
  const base::ByteView bytes{reinterpret_cast<const uint8_t*>(records_ + block * kBlock),
                             kBlock * sizeof(IndexRecord)};
  if (base::xxh64(bytes) != checksums_[block]) throw Damaged();
  for (size_t i = block * kBlock; i < (block + 1) * kBlock; ++i)
    if (records_[i].pack >= packs_.size() && records_[i].length_bytes != 0) throw Damaged();
  verified_[block / 64].fetch_or(uint64_t{1} << block % 64, std::memory_order_relaxed);
}

void IndexCache::verify_all() const {
  for (size_t block = 0; block < checksums_.size(); ++block) verify(block);
}

// The first record of the type that is not below `id`, its block verified.
size_t IndexCache::first_not_below(const Type& all, const base::Id& id) const {
  if (all.size == 0) return 0;
  const auto keys = keys_.subspan(all.first_block, all.blocks);
  const uint64_t key = IndexRecord::key(id);
  // IDs are spread evenly, so the block is near where they say, and so is the record in it.
  const size_t to = first_above(keys, key, share_of(keys.size(), key));
  size_t first = to;  // the last block that begins below the key, or the first of all
  while (first > 0 && (first == to || keys[first] >= key)) --first;
  for (size_t block = first; block < std::max(to, first + 1); ++block)
    verify(all.first_block + block);
  const IndexRecord* const begin = all.records + first * kBlock;
  const IndexRecord* const end = all.records + std::min(all.size, std::max(to, first + 1) * kBlock);
  const auto is_below = [&](const IndexRecord& record) { return record.id < id; };
  return static_cast<size_t>(std::partition_point(begin, end, is_below) - all.records);
}

void IndexCache::for_range(BlobType type, uint64_t low, uint64_t high,
                           const std::function<void(const IndexRecord&)>& each) const {
  const Type& all = types_[static_cast<size_t>(type)];
  base::Id first;
  for (size_t i = 0; i < 8; ++i) first.bytes[i] = static_cast<uint8_t>(low >> (56 - 8 * i));
  for (size_t i = first_not_below(all, first); i < all.size; ++i) {
    if (i % kBlock == 0) verify(all.first_block + i / kBlock);
    if (all.records[i].key() > high) return;
    each(all.records[i]);
  }
}

}  // namespace davit::repo
