#include "crypto/scrypt.h"

#include <gtest/gtest.h>

#include "base/errors.h"
#include "support/vectors.h"

namespace davit::crypto {
namespace {

TEST(Scrypt, DerivesTheKeyOfAKeyFile) {
  const auto file =
      nlohmann::json::parse(test::tiny_repository()["keyfile_json"].get<std::string>());
  const base::Bytes salt = base::from_base64(file["salt"].get<std::string>());
  EXPECT_EQ(base::hex(derive("test", salt, 32768, 8, 5)),
            test::tiny_repository()["scrypt_out_hex"].get<std::string>());
}

TEST(Scrypt, AgreesWithTheRfcs) {
  EXPECT_EQ(base::hex(derive("", {}, 16, 1, 1)),
            "77d6576238657b203b19ca42c18a0497f16b4844e3074ae8dfdffa3fede21442"
            "fcd0069ded0948f8326a753a0fc81f17e8d3e0fb2e0d3628cf35e20c38d18906");
}

TEST(Scrypt, RefusesParametersThatAreImpossibleOrUnaffordable) {
  struct {
    uint64_t N;
    uint32_t r, p;
  } const bad[] = {{0, 8, 1},
                   {1, 8, 1},
                   {3, 8, 1},
                   {16, 0, 1},
                   {16, 1, 0},
                   {1 << 16, 1, 1},
                   {1 << 24, 8, 1},
                   {1 << 20, 8, 1000},
                   {16, 1u << 31, 1},
                   {16, 1, 1u << 31},
                   {16, ~0u, ~0u},
                   {uint64_t{1} << 63, 8, 5},
                   {2, 1 << 13, 1 << 13}};
  for (const auto& [N, r, p] : bad) {
    EXPECT_THROW(derive("x", base::as_bytes("salt"), N, r, p), base::Corrupt)
        << N << ' ' << r << ' ' << p;
  }
}

}  // namespace
}  // namespace davit::crypto
