#include "upkeep/check_packs.h"

#include <atomic>
#include <mutex>

#include "base/crew.h"
#include "base/errors.h"
#include "crypto/seal.h"
#include "crypto/sha256.h"
#include "repo/pack_header.h"
#include "upkeep/pack_reader.h"

namespace davit::upkeep {

namespace {

constexpr uint64_t kLargePack = 128 << 20;
// Blobs have 32-bit offsets and lengths.
constexpr uint64_t kLargestPack = (uint64_t{8} << 30) + repo::kMaxPackHeader;

// Checks packs one after another; one for each thread.
class PackReader {
 public:
  PackReader(const repo::Repository& repository, const BlobTable& table)
      : repository_(repository), table_(table) {}

  // What is wrong with it, nothing where all is well.
  std::string read(uint32_t number, uint64_t size_bytes) {
    const BlobTable::Pack& pack = table_.packs()[number];
    wrong_.clear();
    if (size_bytes > kLargestPack) {
      mark_all(number, size_bytes);
      return "is larger than any pack can be";
    }
    bytes_.resize(size_bytes);
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
    if (crypto::sha256(bytes_) != pack.id) wrong("its content is not what its name says");
    const auto blobs = read_header();
    if (!blobs.empty() && is_as_indexed(number, blobs)) {
      for (const auto& blob : blobs) check_blob(number, blob, bytes_);
      return wrong_;
    }
    if (!blobs.empty()) wrong("its header and the index do not say the same of its blobs");
    // What the index promises counts for restoring.
    for (const uint32_t record : records_of(number)) {
      const auto& from = table_.record(record);
      check_blob(number,
                 {table_.type(record), from.id, from.offset_bytes, from.length_bytes,
                  from.plain_length_bytes},
                 bytes_);
    }
    return wrong_;
  }

  uint64_t bytes_read() const { return bytes_.size(); }
  // Keeps no memory until the next pack.
  void give_back() {
    bytes_ = {};
    plain_ = {};
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

  // Spoils the blob's part of `bytes`.
  void check_blob(uint32_t pack, const repo::PackBlob& blob, std::span<uint8_t> bytes) {
    std::string reason;
    if (uint64_t{blob.offset_bytes} + blob.length_bytes > bytes.size()) {
      reason = "lies beyond the pack's end";
    } else {
      try {
        open_blob(repository_.key(), bytes.subspan(blob.offset_bytes, blob.length_bytes),
                  blob.plain_length_bytes, blob.id, plain_);
        return;
      } catch (const base::Corrupt& error) {
        reason = error.what();
      }
    }
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
  base::Bytes bytes_, plain_;
  std::string wrong_;
};

}  // namespace

uint64_t read_packs(const repo::Repository& repository, const BlobTable& table,
                    const std::vector<std::optional<uint64_t>>& sizes, const PackCheck& options) {
  std::atomic<uint32_t> next{0};
  std::atomic<uint64_t> bytes_read{0};
  std::atomic<bool> failed{false};
  std::mutex large, reporting;
  base::Crew crew([&] { failed = true; });
  const auto work = [&] {
    PackReader reader(repository, table);
    for (uint32_t i; !failed && (i = next++) < sizes.size();) {
      if (options.stop.stop_requested()) throw base::Cancelled();
      if (!sizes[i]) continue;
      std::unique_lock one_at_a_time(large, std::defer_lock);
      if (*sizes[i] > kLargePack) one_at_a_time.lock();
      const std::string reason = reader.read(i, *sizes[i]);
      bytes_read += reader.bytes_read();
      if (options.progress) options.progress->bytes_done += reader.bytes_read();
      if (*sizes[i] > kLargePack) reader.give_back();
      if (reason.empty()) continue;
      std::lock_guard lock(reporting);
      options.on_error(i, reason);
    }
  };
  for (unsigned i = 0; i < base::processor_count(); ++i) crew.start("read packs", work);
  crew.join();
  return bytes_read;
}

}  // namespace davit::upkeep
