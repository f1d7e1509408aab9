// The last four bytes stand for the size of the pack.
#include "fuzz/fuzz.h"
#include "repo/pack_header.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace davit;
  if (size < 4) return 0;
  const uint32_t pack_size = base::load_le32(data + size - 4);
  return fuzz::attempt(data, size - 4, [&](base::ByteView bytes) {
    const auto blobs = repo::parse_pack_header(bytes, pack_size);
    DAVIT_CHECK(repo::pack_size(blobs) == pack_size);
    const base::Bytes again = repo::encode_pack_header(blobs);
    DAVIT_CHECK(std::equal(again.begin(), again.end(), bytes.begin(), bytes.end()));
  });
}
