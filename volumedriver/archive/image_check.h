// Whether an image stream could be loaded again: what its manifest.json (docker-archive) and
// index.json (OCI layout) name must be in it.
//
// The small documents are looked at while they pass by, since the stream is seen once: of them,
// only the names they hold are kept. One thread.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "archive/frame.h"
#include "base/bytes.h"

namespace davit::archive {

class ImageCheck {
 public:
  // Registries allow no larger manifest.
  static constexpr uint64_t kMaxDocument = 4 << 20;

  // Whether add() is to see that member's content. `begin`: the first byte of it. Throws Corrupt
  // for a manifest.json or index.json that is too large.
  static bool wants(std::string_view name, uint64_t size_bytes, uint8_t begin);
  // `name`: components joined by '/'. Throws Corrupt for a manifest.json or index.json that is
  // none.
  void add(const std::string& name, base::ByteView content);
  // Once all members are there. Throws Corrupt, naming what is missing.
  void verify(const Frame& image);

 private:
  struct Descriptor {
    std::string digest;
    std::optional<uint64_t> size_bytes;
    bool is_image = true;  // not an attestation about one
  };
  // An OCI index or manifest.
  struct Document {
    bool is_index = false;
    std::vector<Descriptor> parts;  // manifests; or the config and the layers
  };
  struct DockerImage {
    std::string config;
    std::vector<std::string> layers;
  };
  static std::optional<Document> parse_document(base::ByteView content);
  void count(size_t names);
  void verify_docker(const Frame& image) const;
  const Frame* find_blob(const Frame& image, const Descriptor& blob) const;
  bool is_whole(const Frame& image, const Descriptor& top, int depth);

  std::optional<std::vector<DockerImage>> docker_;
  std::optional<Document> index_;
  std::map<std::string, Document> documents_;  // by the blob's member name
  std::map<std::string, bool> known_;          // whether it leads to a whole image, by digest
  std::string missing_;                        // the first blob that was looked for in vain
  size_t names_ = 0;
};

}  // namespace davit::archive
