// What a blob is: a piece of a file, or a directory's listing, stored in a pack and named by the
// SHA-256 of its plaintext. (type, ID) is its identity: the same bytes may exist once as data and
// once as a tree.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/id.h"

namespace davit::repo {

enum class BlobType : uint8_t { data = 0, tree = 1 };

constexpr std::string_view type_name(BlobType type) {
  return type == BlobType::data ? "data" : "tree";
}

// Where a blob lies in its pack. `length_bytes` counts the sealed blob; `plain_length_bytes` is the
// size of the plaintext where that was compressed, else 0.
struct PackBlob {
  BlobType type = BlobType::data;
  base::Id id;
  uint32_t offset_bytes = 0;
  uint32_t length_bytes = 0;
  uint32_t plain_length_bytes = 0;

  bool is_compressed() const { return plain_length_bytes != 0; }
  bool operator==(const PackBlob&) const = default;
};

}  // namespace davit::repo
