#include "repo/index_file.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <string_view>
#include <vector>

#include "base/errors.h"
#include "crypto/seal.h"
#include "repo/json_reader.h"
#include "repo/json_writer.h"

namespace davit::repo {
namespace {

constexpr std::string_view kOpening = "{\"packs\":[";
constexpr std::string_view kClosing = "]}\n";

// Reads what restic and we write, at several times the speed of the general reader. Takes nothing
// and returns false where it is spelled differently.
bool read_usual_blob(JsonReader& json, PackBlob& blob) {
  const base::ByteView rest = json.rest();
  // The longest there is.
  constexpr size_t kLongest = 180;
  if (rest.size() < kLongest) return false;
  const uint8_t* at = rest.data();
  const auto take = [&](std::string_view text) {
    if (std::memcmp(at, text.data(), text.size()) != 0) return false;
    at += text.size();
    return true;
  };
  // No sign, no leading zero, at most ten digits.
  const auto number = [&](uint32_t& value) {
    const uint8_t* const start = at;
    uint64_t sum = 0;
    for (; *at >= '0' && *at <= '9' && at - start < 11; ++at) sum = sum * 10 + (*at - '0');
    value = static_cast<uint32_t>(sum);
    return at != start && (*start != '0' || at - start == 1) &&
           sum <= std::numeric_limits<uint32_t>::max();
  };
  if (!take("{\"id\":\"") || !JsonReader::read_id(at, blob.id)) return false;
  at += 64;
  if (take("\",\"type\":\"data\",\"offset\":"))
    blob.type = BlobType::data;
  else if (take("\",\"type\":\"tree\",\"offset\":"))
    blob.type = BlobType::tree;
  else
    return false;
  if (!number(blob.offset_bytes) || !take(",\"length\":") || !number(blob.length_bytes))
    return false;
  blob.plain_length_bytes = 0;
  if (take(",\"uncompressed_length\":") && !number(blob.plain_length_bytes)) return false;
  if (!take("}")) return false;
  json.advance(static_cast<size_t>(at - rest.data()));
  return true;
}

PackBlob read_any_blob(JsonReader& json) {
  PackBlob blob;
  bool has_id = false;
  bool has_type = false;
  for (json.begin_object(); json.next_key();) {
    if (json.take_null()) continue;
    const std::string_view key = json.key();
    if (key == "id") {
      blob.id = json.id();
      has_id = true;
    } else if (key == "type") {
      const std::string_view type = json.string();
      if (type == "data")
        blob.type = BlobType::data;
      else if (type == "tree")
        blob.type = BlobType::tree;
      else
        json.fail("a blob of an unknown type");
      has_type = true;
    } else if (key == "offset")
      blob.offset_bytes = json.uint32();
    else if (key == "length")
      blob.length_bytes = json.uint32();
    else if (key == "uncompressed_length")
      blob.plain_length_bytes = json.uint32();
    else
      json.skip();
  }
  if (!has_id || !has_type) json.fail("a blob without an ID or a type");
  return blob;
}

PackBlob read_blob(JsonReader& json) {
  PackBlob blob;
  if (!read_usual_blob(json, blob)) blob = read_any_blob(json);
  if (blob.length_bytes < crypto::kSealOverhead) json.fail("a blob that is too short");
  if (blob.length_bytes > std::numeric_limits<uint32_t>::max() - blob.offset_bytes)
    json.fail("a blob beyond 4 GiB");
  return blob;
}

}  // namespace

void parse_index(base::ByteView bytes, const OnIndexedPack& on_pack) {
  JsonReader json(bytes, "index");
  std::vector<PackBlob> blobs;  // one pack's, since its ID may come after them
  bool has_packs = false;
  for (json.begin_object(); json.next_key();) {
    if (json.key() != "packs") {
      json.skip();
      continue;
    }
    if (has_packs) json.fail("a second list of packs");
    has_packs = true;
    if (json.take_null()) continue;
    for (json.begin_array(); json.next_element();) {
      blobs.clear();
      base::Id pack;
      bool has_id = false;
      for (json.begin_object(); json.next_key();) {
        if (json.take_null()) continue;
        if (json.key() == "id") {
          pack = json.id();
          has_id = true;
        } else if (json.key() == "blobs") {
          blobs.clear();
          for (json.begin_array(); json.next_element();) blobs.push_back(read_blob(json));
        } else {
          json.skip();
        }
      }
      if (!has_id) json.fail("a pack without an ID");
      on_pack(pack, blobs);
    }
  }
  json.finish();
  if (!has_packs) json.fail("there is no list of packs");
}

void IndexFileContent::clear() {
  packs.clear();
  blobs.clear();
}

void IndexFileContent::add(const base::Id& pack, std::span<const PackBlob> more) {
  packs.push_back({pack, blobs.size(), more.size()});
  blobs.insert(blobs.end(), more.begin(), more.end());
}

void IndexFileContent::gather_packs() {
  std::vector<const Pack*> sorted;
  sorted.reserve(packs.size());
  for (const Pack& pack : packs) sorted.push_back(&pack);
  std::stable_sort(sorted.begin(), sorted.end(),
                   [](const Pack* a, const Pack* b) { return a->id < b->id; });
  const auto same = [](const Pack* a, const Pack* b) { return a->id == b->id; };
  if (std::adjacent_find(sorted.begin(), sorted.end(), same) == sorted.end()) return;
  IndexFileContent gathered;
  for (const Pack* pack : sorted) {
    if (!gathered.packs.empty() && gathered.packs.back().id == pack->id)
      gathered.packs.back().count += pack->count;
    else
      gathered.packs.push_back({pack->id, gathered.blobs.size(), pack->count});
    const auto its_blobs = blobs_of(*pack);
    gathered.blobs.insert(gathered.blobs.end(), its_blobs.begin(), its_blobs.end());
  }
  *this = std::move(gathered);
}

void parse_index(base::ByteView json, IndexFileContent& content) {
  content.clear();
  parse_index(json, [&](const base::Id& pack, std::span<const PackBlob> blobs) {
    content.add(pack, blobs);
  });
  content.gather_packs();
}

IndexEncoder::IndexEncoder() {
  JsonWriter(bytes_).raw(kOpening);
}

void IndexEncoder::add(const base::Id& pack, std::span<const PackBlob> blobs) {
  JsonWriter json(bytes_);
  json.raw(bytes_.size() == kOpening.size() ? "{\"id\":" : ",{\"id\":");
  json.id(pack);
  std::string_view before = ",\"blobs\":[{\"id\":";
  for (const PackBlob& blob : blobs) {
    json.raw(before);
    json.id(blob.id);
    json.raw(blob.type == BlobType::data ? ",\"type\":\"data\",\"offset\":"
                                         : ",\"type\":\"tree\",\"offset\":");
    json.number(blob.offset_bytes);
    json.raw(",\"length\":");
    json.number(blob.length_bytes);
    if (blob.is_compressed()) {
      json.raw(",\"uncompressed_length\":");
      json.number(blob.plain_length_bytes);
    }
    json.raw("}");
    before = ",{\"id\":";
  }
  json.raw(blobs.empty() ? ",\"blobs\":[]}" : "]}");
  blob_count_ += blobs.size();
}

base::Bytes IndexEncoder::finish() {
  JsonWriter(bytes_).raw(kClosing);
  base::Bytes finished = std::move(bytes_);
  *this = IndexEncoder();
  return finished;
}

}  // namespace davit::repo
