#include "crypto/seal.h"
#include "fuzz/fuzz.h"
#include "repo/index_file.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace davit;
  return fuzz::attempt(data, size, [](base::ByteView bytes) {
    repo::IndexEncoder encoder;
    size_t count = 0;
    repo::parse_index(bytes, [&](const base::Id& pack, std::span<const repo::PackBlob> blobs) {
      for (const repo::PackBlob& blob : blobs)
        DAVIT_CHECK(blob.length_bytes >= crypto::kSealOverhead);
      encoder.add(pack, blobs);
      count += blobs.size();
    });
    size_t again = 0;
    repo::parse_index(
        encoder.finish(),
        [&](const base::Id&, std::span<const repo::PackBlob> blobs) { again += blobs.size(); });
    DAVIT_CHECK(again == count);
  });
}
