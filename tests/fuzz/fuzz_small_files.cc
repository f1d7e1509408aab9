// Config, key, master key and lock: the first byte says which.
#include "fuzz/fuzz.h"
#include "repo/small_files.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace davit;
  if (size == 0) return 0;
  return fuzz::attempt(data + 1, size - 1, [&](base::ByteView bytes) {
    switch (data[0] % 4) {
      case 0:
        repo::parse_config(bytes);
        break;
      case 1:
        repo::parse_key_file(bytes);
        break;
      case 2:
        repo::parse_master_key(bytes);
        break;
      default: {
        const repo::LockFile lock = repo::parse_lock(bytes);
        DAVIT_CHECK(repo::parse_lock(repo::encode_lock(lock)) == lock);
      }
    }
  });
}
