#include "repo/index_file.h"

#include <limits>
#include <vector>

#include "base/errors.h"
#include "crypto/seal.h"
#include "repo/json_reader.h"
#include "repo/json_writer.h"

namespace davit::repo {
namespace {

constexpr std::string_view kOpening = "{\"packs\":[";
constexpr std::string_view kClosing = "]}\n";

PackBlob read_blob(JsonReader& json) {
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
