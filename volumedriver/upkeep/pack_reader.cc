#include "upkeep/pack_reader.h"

#include <algorithm>
#include <tuple>

#include "base/errors.h"
#include "crypto/seal.h"
#include "crypto/sha256.h"
#include "repo/codec.h"
#include "upkeep/used_blobs.h"

namespace davit::upkeep {

namespace {

constexpr uint64_t kMaxGap = 256 << 10;
constexpr uint64_t kMaxRange = 16 << 20;

uint64_t end_of(const BlobTable::Record& record) {
  return uint64_t{record.offset_bytes} + record.length_bytes;
}

}  // namespace

OpenedBlob open_blob(const crypto::Key& key, std::span<uint8_t> sealed, uint32_t plain_length_bytes,
                     const base::Id& id, base::Bytes& buffer) {
  OpenedBlob blob;
  blob.plain = blob.content = crypto::open_in_place(key, sealed);
  blob.plain_length_bytes = plain_length_bytes;
  if (plain_length_bytes != 0) {
    buffer.resize(plain_length_bytes);
    repo::decompress(blob.content, buffer);
    blob.plain = buffer;
  }
  if (crypto::sha256(blob.plain) != id) throw base::Corrupt("its content is not what its ID says");
  return blob;
}

void read_blobs(const repo::Repository& repository, const BlobTable& table,
                std::span<const uint32_t> records,
                const std::function<void(uint32_t, const OpenedBlob&)>& each) {
  base::Bytes range, buffer;
  while (!records.empty()) {
    const BlobTable::Record& first = table.record(records.front());
    uint64_t end = end_of(first);
    size_t count = 1;
    for (; count < records.size(); ++count) {
      const BlobTable::Record& next = table.record(records[count]);
      if (next.offset_bytes > end + kMaxGap || end_of(next) - first.offset_bytes > kMaxRange) break;
      end = std::max(end, end_of(next));
    }
    bool is_read = true;
    try {
      range.resize(end - first.offset_bytes);
      const bool trees = table.type(records.front()) == repo::BlobType::tree;
      repository.store().get_range({store::Kind::data, table.packs()[first.pack].id, trees},
                                   first.offset_bytes, range);
    } catch (const base::IoError& error) {
      if (error.transient()) throw;
      is_read = false;
    } catch (const base::Error&) {
      is_read = false;  // blob by blob below, from other packs where there are copies
    }
    for (const uint32_t number : records.first(count)) {
      const BlobTable::Record& record = table.record(number);
      OpenedBlob blob;
      bool is_good = false;
      if (is_read) {
        try {
          const auto sealed = std::span(range).subspan(record.offset_bytes - first.offset_bytes,
                                                       record.length_bytes);
          blob = open_blob(repository.key(), sealed, record.plain_length_bytes, record.id, buffer);
          is_good = true;
        } catch (const base::Corrupt&) {
        }
      }
      if (!is_good) {
        load_from_any(repository, table, table.copies_of(number), buffer);
        blob = {.plain = buffer, .content = buffer};
      }
      each(number, blob);
    }
    records = records.subspan(count);
  }
}

std::vector<uint32_t> records_by_pack(const BlobTable& table,
                                      const std::function<bool(uint32_t)>& wanted) {
  std::vector<uint32_t> numbers;
  for (size_t i = 0; i < table.size(); ++i)
    if (wanted(static_cast<uint32_t>(i))) numbers.push_back(static_cast<uint32_t>(i));
  std::sort(numbers.begin(), numbers.end(), [&](uint32_t a, uint32_t b) {
    const auto &first = table.record(a), &second = table.record(b);
    return std::tie(first.pack, first.offset_bytes) < std::tie(second.pack, second.offset_bytes);
  });
  return numbers;
}

}  // namespace davit::upkeep
