// The vectors in tests/data: a small repository by restic 0.18 and what is in it, decrypted by an
// independent reader.
#pragma once

#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "base/bytes.h"
#include "base/errors.h"
#include "base/id.h"

namespace davit::test {

inline nlohmann::json read_vectors(const std::string& name) {
  std::ifstream file(std::string(TESTDATA "/") + name);
  if (!file) throw base::Error("no vectors: " + name);
  return nlohmann::json::parse(file);
}

inline const nlohmann::json& tiny_repository() {
  static const nlohmann::json vectors = read_vectors("repo-v2-tiny.json");
  return vectors;
}

inline base::Bytes bytes_of(std::string_view text) {
  return base::to_bytes(base::as_bytes(text));
}
inline std::string text_of(base::ByteView bytes) {
  return std::string(base::as_text(bytes));
}
inline base::Id id_of(const std::string& hex) {
  return base::Id::parse(hex).value();
}

// Numbers that are the same in every run: splitmix64.
class Stream {
 public:
  explicit Stream(uint64_t seed) : state_(seed) {}
  uint64_t next() {
    uint64_t z = state_ += 0x9E3779B97F4A7C15;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
    return z ^ (z >> 31);
  }
  uint64_t below(uint64_t bound) { return next() % bound; }
  base::Bytes bytes(size_t size) {
    base::Bytes bytes((size + 7) & ~size_t{7});
    for (size_t i = 0; i < bytes.size(); i += 8) base::store_le64(bytes.data() + i, next());
    bytes.resize(size);
    return bytes;
  }

 private:
  uint64_t state_;
};

}  // namespace davit::test
