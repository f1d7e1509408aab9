#include "upkeep/examine_pack.h"

#include <algorithm>

#include "base/errors.h"
#include "base/unreadable.h"
#include "crypto/seal.h"
#include "crypto/sha256.h"
#include "repo/pack_header.h"

namespace davit::upkeep {

namespace {

// Holds the header of most packs.
constexpr uint64_t kUsualEnd = 64 << 10;
// A bad sector costs so much.
constexpr size_t kStep = 4 << 10;
constexpr uint64_t kLargestConfig = 1 << 20;
constexpr uint64_t kLargestPack = (uint64_t{8} << 30) + repo::kMaxPackHeader;

// `end`: the last bytes of the pack, with at least the whole header.
std::vector<repo::PackBlob> parse_end(const crypto::Key& key, base::ByteView end,
                                      uint32_t header_bytes, uint64_t size_bytes) {
  const auto sealed =
      end.subspan(end.size() - repo::kHeaderLengthSize - header_bytes, header_bytes);
  return repo::parse_pack_header(crypto::open(key, sealed), size_bytes);
}

}  // namespace

// Into bytes_; what a medium does not give is zero. False where the pack is not there, or is
// shorter.
bool PackExaminer::read(const base::Id& pack) {
  const store::Name name{store::Kind::data, pack};
  has_gaps_ = false;
  const auto gives = [&](uint64_t offset, std::span<uint8_t> out) {
    try {
      repository_.store().get_range(name, offset, out);
      return true;
    } catch (const base::IoError& error) {
      if (!base::is_bad_medium(error)) throw;
      return false;
    }
  };
  try {
    if (gives(0, bytes_)) return true;
    has_gaps_ = true;
    for (size_t offset = 0; offset < bytes_.size(); offset += kStep) {
      const auto part =
          std::span(bytes_).subspan(offset, std::min<size_t>(kStep, bytes_.size() - offset));
      if (!gives(offset, part)) std::fill(part.begin(), part.end(), 0);
    }
    // A disk or a mount that gives nothing at all says nothing of the pack.
    repository_.store().get({store::Kind::config, {}}, kLargestConfig);
    return true;
  } catch (const base::NotFound&) {
  } catch (const base::Corrupt&) {
  }
  return false;
}

PackVerdict PackExaminer::examine(const base::Id& pack, uint64_t size_bytes,
                                  std::span<const repo::PackBlob> expected) {
  PackVerdict verdict;
  verdict.blobs.assign(expected.begin(), expected.end());
  verdict.is_good.resize(expected.size());
  if (size_bytes > kLargestPack) return verdict;
  bytes_.resize(size_bytes);
  if (!read(pack)) return verdict;
  verdict.bytes_read = size_bytes;
  verdict.has_gaps = has_gaps_;
  try {
    const uint32_t header_bytes = repo::parse_header_length(
        base::ByteView(bytes_).last(std::min<size_t>(bytes_.size(), repo::kHeaderLengthSize)),
        size_bytes);
    verdict.blobs = parse_end(repository_.key(), bytes_, header_bytes, size_bytes);
    verdict.has_header = true;
  } catch (const base::Corrupt&) {
  }
  verdict.is_good.assign(verdict.blobs.size(), false);
  bool all_good = true;
  for (size_t i = 0; i < verdict.blobs.size(); ++i) {
    const auto& blob = verdict.blobs[i];
    const bool lies_within = blob.offset_bytes <= bytes_.size() &&
                             blob.length_bytes <= bytes_.size() - blob.offset_bytes;
    try {
      if (!lies_within) throw base::Corrupt("lies beyond the pack's end");
      const auto sealed = base::ByteView(bytes_).subspan(blob.offset_bytes, blob.length_bytes);
      sealed_.assign(sealed.begin(), sealed.end());
      open_blob(repository_.key(), sealed_, blob.plain_length_bytes, blob.id, plain_);
      verdict.is_good[i] = true;
    } catch (const base::Corrupt&) {
      all_good = false;
    }
  }
  verdict.is_whole = verdict.has_header && all_good && crypto::sha256(bytes_) == pack;
  return verdict;
}

void PackExaminer::for_each_good(
    const PackVerdict& verdict,
    const std::function<void(const repo::PackBlob&, const OpenedBlob&)>& each) {
  for (size_t i = 0; i < verdict.blobs.size(); ++i) {
    if (!verdict.is_good[i]) continue;
    const auto& blob = verdict.blobs[i];
    const auto sealed = std::span(bytes_).subspan(blob.offset_bytes, blob.length_bytes);
    sealed_.assign(sealed.begin(), sealed.end());
    each(blob, open_blob(repository_.key(), sealed_, blob.plain_length_bytes, blob.id, plain_));
  }
}

std::vector<repo::PackBlob> read_pack_header(const repo::Repository& repository,
                                             const base::Id& pack, uint64_t size_bytes) {
  const store::Name name{store::Kind::data, pack};
  base::Bytes end(std::min(size_bytes, kUsualEnd));
  repository.store().get_range(name, size_bytes - end.size(), end);
  const uint32_t header_bytes = repo::parse_header_length(
      base::ByteView(end).last(std::min<size_t>(end.size(), repo::kHeaderLengthSize)), size_bytes);
  if (const uint64_t needed = header_bytes + repo::kHeaderLengthSize; needed > end.size()) {
    end.resize(needed);
    repository.store().get_range(name, size_bytes - needed, end);
  }
  return parse_end(repository.key(), end, header_bytes, size_bytes);
}

}  // namespace davit::upkeep
