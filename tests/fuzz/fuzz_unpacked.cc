#include "fuzz/fuzz.h"
#include "repo/codec.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace davit;
  return fuzz::attempt(data, size, [](base::ByteView bytes) {
    DAVIT_CHECK(repo::decode_unpacked(bytes, 1 << 20).size() <= 1 << 20);
  });
}
