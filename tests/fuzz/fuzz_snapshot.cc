#include "fuzz/fuzz.h"
#include "repo/snapshot.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace davit;
  return fuzz::attempt(data, size, [](base::ByteView bytes) {
    const repo::Snapshot snapshot = repo::parse_snapshot(bytes);
    DAVIT_CHECK(repo::parse_snapshot(repo::encode_snapshot(snapshot)) == snapshot);
  });
}
