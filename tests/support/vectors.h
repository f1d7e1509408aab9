// The vectors in tests/data: a small repository by restic 0.18 and what is in it, decrypted by an
// independent reader.
#pragma once

#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "base/bytes.h"
#include "base/errors.h"
#include "base/id.h"
#include "support/data_path.h"
#include "support/stream.h"

namespace davit::test {

inline nlohmann::json read_vectors(const std::string& name) {
  std::ifstream file(data_path(name));
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

}  // namespace davit::test
