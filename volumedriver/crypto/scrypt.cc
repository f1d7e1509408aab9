#include "crypto/scrypt.h"

#include <openssl/evp.h>

#include "base/errors.h"

namespace davit::crypto {
namespace {

constexpr uint64_t kMaxMemory = uint64_t{1} << 30;
// One unit is mixing 128 bytes twice; the usual parameters need 1.3 million of them.
constexpr uint64_t kMaxWork = uint64_t{1} << 27;

void check_parameters(uint64_t N, uint32_t r, uint32_t p) {
  const bool possible = N >= 2 && (N & (N - 1)) == 0 && r >= 1 && p >= 1;
  if (!possible) throw base::Corrupt("the key's scrypt parameters are impossible");
  // Each factor is bounded before it is multiplied, so nothing overflows.
  if (N > kMaxWork || r > kMaxWork || p > kMaxWork || N * r > kMaxWork || N * r * p > kMaxWork ||
      128 * uint64_t{r} * (N + p) > kMaxMemory) {
    throw base::Corrupt("the key's scrypt parameters ask for more than a gigabyte or a minute");
  }
  if (r < 4 && N >= uint64_t{1} << (16 * r)) {
    throw base::Corrupt("the key's scrypt parameters are impossible");
  }
}

}  // namespace

DerivedBytes derive(std::string_view password, base::ByteView salt, uint64_t N, uint32_t r,
                    uint32_t p) {
  check_parameters(N, r, p);
  DerivedBytes derived;
  // A null pointer for the password would mean "only check the parameters".
  const char* text = password.empty() ? "" : password.data();
  if (EVP_PBE_scrypt(text, password.size(), salt.data(), salt.size(), N, r, p, 2 * kMaxMemory,
                     derived.data(), derived.size()) != 1) {
    throw base::Error("deriving a key from the password failed; is there enough memory?");
  }
  return derived;
}

}  // namespace davit::crypto
