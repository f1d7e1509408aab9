#include "upkeep/check_packs.h"

#include <algorithm>
#include <atomic>
#include <mutex>
#include <utility>

#include "base/crew.h"
#include "base/errors.h"
#include "crypto/seal.h"
#include "crypto/sha256_lanes.h"
#include "repo/chunker.h"
#include "repo/codec.h"
#include "repo/pack_header.h"
#include "upkeep/pack_reader.h"

namespace davit::upkeep {

namespace {

constexpr uint64_t kLargePack = 128 << 20;
// Writers end a pack once it has 16 MiB; the last blob may have 8.
constexpr uint64_t kUsualPack = 25 << 20;
// So many plain bytes (or one blob) and so many blobs are hashed at once.
constexpr uint64_t kBatchBytes = 2 << 20;
constexpr size_t kBatchBlobs = 256;
// Blobs have 32-bit offsets and lengths.
constexpr uint64_t kLargestPack = (uint64_t{8} << 30) + repo::kMaxPackHeader;

// What was there is lost, so that growing never holds old and new at once.
void make_room(base::Bytes& bytes, size_t size) {
  if (bytes.capacity() < size) base::Bytes().swap(bytes);
  bytes.resize(size);
}

// Checks packs one after another; one for each thread.
class PackReader {
 public:
  PackReader(const repo::Repository& repository, const BlobTable& table)
      : repository_(repository), table_(table) {
    // What nearly all need, so that they never grow: only what is touched counts.
    bytes_.reserve(kUsualPack);
    plain_.reserve(repo::kMaxChunk);
    frame_.reserve(repo::kMaxChunk);
  }

  // What is wrong with it, nothing where all is well.
  std::string read(uint32_t number, uint64_t size_bytes) {
    const BlobTable::Pack& pack = table_.packs()[number];
    wrong_.clear();
    if (size_bytes > kLargestPack) {
      mark_all(number, size_bytes);
      return "is larger than any pack can be";
    }
    make_room(bytes_, size_bytes);
    try {
      repository_.store().get_range({store::Kind::data, pack.id}, 0, bytes_);
    } catch (const base::IoError& error) {
      if (error.transient()) throw;
      mark_all(number, 0);
      return error.what();
    } catch (const base::Error& error) {
      mark_all(number, 0);
      return error.what();
    }
    auto blobs = read_header();
    if (!blobs.empty() && !is_as_indexed(number, blobs)) {
      wrong("its header and the index do not say the same of its blobs");
      blobs.clear();
    }
    // What the index promises counts for restoring.
    if (blobs.empty()) blobs = indexed_blobs(number);
    crypto::Sha256Beside whole(bytes_);
    for (std::span<const repo::PackBlob> rest = blobs; !rest.empty();)
      rest = rest.subspan(check_batch(number, rest, whole));
    if (whole.finish() != pack.id)
      wrong_ = "its content is not what its name says" + (wrong_.empty() ? "" : "; " + wrong_);
    return wrong_;
  }

  // As read(), of a pack that was put right.
  std::string read_again(uint32_t number) {
    for (const uint32_t record : records_of(number)) table_.clear(record, BlobTable::damaged);
    const auto size = repository_.store().find_size({store::Kind::data, table_.packs()[number].id});
    if (size) return read(number, *size);
    mark_all(number, 0);
    return "is missing";
  }

  uint64_t bytes_read() const { return bytes_.size(); }
  // Keeps no memory until the next pack.
  void give_back() {
    bytes_ = {};
    plain_ = {};
    frame_ = {};
  }

 private:
  void wrong(const std::string& reason) {
    constexpr size_t kEnough = 1000;
    if (wrong_.size() > kEnough) return;
    if (!wrong_.empty()) wrong_ += "; ";
    wrong_ += reason;
    if (wrong_.size() > kEnough) wrong_ += "; and more";
  }

  std::vector<repo::PackBlob> read_header() {
    try {
      if (bytes_.size() < repo::kMinPackSize) throw base::Corrupt("it is too short for a pack");
      const std::span<uint8_t> all(bytes_);
      const uint32_t length =
          repo::parse_header_length(all.last(repo::kHeaderLengthSize), bytes_.size());
      const auto sealed = all.subspan(bytes_.size() - repo::kHeaderLengthSize - length, length);
      return repo::parse_pack_header(crypto::open(repository_.key(), sealed), bytes_.size());
    } catch (const base::Corrupt& error) {
      wrong(std::string("its header: ") + error.what());
      return {};
    }
  }

  bool is_as_indexed(uint32_t number, const std::vector<repo::PackBlob>& blobs) const {
    uint64_t digest = 0;
    for (const auto& blob : blobs)
      digest += entry_digest(blob.type, blob.id, blob.offset_bytes, blob.length_bytes,
                             blob.plain_length_bytes);
    const auto& pack = table_.packs()[number];
    return digest == pack.digest && blobs.size() == pack.blobs;
  }

  std::vector<repo::PackBlob> indexed_blobs(uint32_t number) const {
    std::vector<repo::PackBlob> blobs;
    for (const uint32_t record : records_of(number)) {
      const auto& from = table_.record(record);
      blobs.push_back({table_.type(record), from.id, from.offset_bytes, from.length_bytes,
                       from.plain_length_bytes});
    }
    return blobs;
  }

  // Checks the first of `blobs`, as many as are one batch, and returns how many. They are hashed
  // beside the whole pack, whose bytes therefore stay as they are.
  size_t check_batch(uint32_t pack, std::span<const repo::PackBlob> blobs,
                     crypto::Sha256Beside& whole) {
    size_t count = 0;
    uint64_t room_bytes = 0;
    for (; count < std::min(blobs.size(), kBatchBlobs); ++count) {
      const uint64_t plain_bytes = plain_size(blobs[count]);
      if (count > 0 && room_bytes + plain_bytes > kBatchBytes) break;
      room_bytes += plain_bytes;
    }
    make_room(plain_, room_bytes);
    views_.assign(count, {});
    reasons_.assign(count, {});
    std::span<uint8_t> room = plain_;
    for (size_t i = 0; i < count; ++i) {
      const auto plain = room.first(plain_size(blobs[i]));
      room = room.subspan(plain.size());
      try {
        open(blobs[i], plain);
        views_[i] = plain;
      } catch (const base::Corrupt& error) {
        reasons_[i] = error.what();
      }
    }
    ids_.resize(count);
    whole.hash_each(views_, ids_);
    for (size_t i = 0; i < count; ++i) {
      if (reasons_[i].empty() && ids_[i] != blobs[i].id)
        reasons_[i] = "its content is not what its ID says";
      if (!reasons_[i].empty()) tell_damaged(pack, blobs[i], reasons_[i]);
    }
    return count;
  }

  static size_t plain_size(const repo::PackBlob& blob) {
    if (blob.plain_length_bytes != 0) return blob.plain_length_bytes;
    return blob.length_bytes - std::min<size_t>(blob.length_bytes, crypto::kSealOverhead);
  }

  // Into `plain`, which is as large as the blob says that it is. Throws Corrupt.
  void open(const repo::PackBlob& blob, std::span<uint8_t> plain) {
    if (uint64_t{blob.offset_bytes} + blob.length_bytes > bytes_.size())
      throw base::Corrupt("lies beyond the pack's end");
    const auto sealed = base::ByteView(bytes_).subspan(blob.offset_bytes, blob.length_bytes);
    if (blob.plain_length_bytes == 0) return crypto::open(repository_.key(), sealed, plain);
    make_room(frame_, sealed.size() - std::min(sealed.size(), crypto::kSealOverhead));
    crypto::open(repository_.key(), sealed, frame_);
    repo::decompress(frame_, plain);
  }

  void tell_damaged(uint32_t pack, const repo::PackBlob& blob, const std::string& reason) {
    wrong(std::string(repo::type_name(blob.type)) + " blob " + blob.id.hex() + ": " + reason);
    const auto copies = table_.find(blob.type, blob.id);
    for (size_t i = copies.first; i < copies.first + copies.count; ++i)
      if (table_.record(i).pack == pack && table_.record(i).offset_bytes == blob.offset_bytes)
        table_.set(i, BlobTable::damaged);
  }

  std::vector<uint32_t> records_of(uint32_t pack) const {
    return records_by_pack(table_,
                           [&](uint32_t record) { return table_.record(record).pack == pack; });
  }

  void mark_all(uint32_t pack, uint64_t from_bytes) {
    for (const uint32_t record : records_of(pack))
      if (table_.record(record).offset_bytes >= from_bytes) table_.set(record, BlobTable::damaged);
  }

  const repo::Repository& repository_;
  const BlobTable& table_;
  base::Bytes bytes_;          // the pack
  base::Bytes plain_, frame_;  // of a batch, and of a compressed blob
  // By number in the batch.
  std::vector<base::ByteView> views_;
  std::vector<base::Id> ids_;
  std::vector<std::string> reasons_;
  std::string wrong_;
};

}  // namespace

uint64_t read_packs(const repo::Repository& repository, const BlobTable& table,
                    const std::vector<std::optional<uint64_t>>& sizes, const PackCheck& options) {
  std::atomic<uint32_t> next{0};
  std::atomic<uint64_t> bytes_read{0};
  std::atomic<bool> failed{false};
  std::mutex large, healing, reporting;
  bool is_away = false;  // the last pack; of `reporting`
  base::Crew crew([&] { failed = true; });
  const auto work = [&] {
    PackReader reader(repository, table);
    for (uint32_t i; !failed && (i = next++) < sizes.size();) {
      if (options.stop.stop_requested()) throw base::Cancelled();
      if (!sizes[i]) continue;
      std::unique_lock one_at_a_time(large, std::defer_lock);
      if (*sizes[i] > kLargePack) one_at_a_time.lock();
      std::string reason;
      try {
        reason = reader.read(i, *sizes[i]);
      } catch (const base::IoError& error) {
        if (!error.transient()) throw;
        std::lock_guard lock(reporting);
        if (std::exchange(is_away, true)) throw;
        options.on_away(i, error);
        continue;
      }
      if (!reason.empty() && options.heal) {
        std::lock_guard lock(healing);
        if (options.heal(i)) reason = reader.read_again(i);
      }
      bytes_read += reader.bytes_read();
      if (options.progress) options.progress->bytes_done += reader.bytes_read();
      if (*sizes[i] > kLargePack) reader.give_back();
      std::lock_guard lock(reporting);
      is_away = false;
      if (!reason.empty())
        options.on_error(i, reason);
      else if (options.on_whole)
        options.on_whole(i);
    }
  };
  for (unsigned i = 0; i < base::processor_count(); ++i) crew.start("read packs", work);
  crew.join();
  return bytes_read;
}

}  // namespace davit::upkeep
