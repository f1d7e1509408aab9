#include "support/test_repository.h"

#include <random>

namespace davit::test {

std::unique_ptr<repo::Repository> make_repository(std::shared_ptr<store::Store> store) {
  std::array<uint8_t, 64> bytes;
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<uint8_t>(i * 7 + 1);
  repo::ConfigFile config;
  config.id.bytes.fill(0x42);
  config.chunker_polynomial = repo::Polynomial::parse("3da3358b4dc173");
  return std::make_unique<repo::Repository>(std::move(store), config,
                                            crypto::Key::from_bytes(bytes), base::Id{});
}

base::Bytes random_bytes(size_t size, uint64_t seed) {
  std::mt19937_64 random(seed);
  base::Bytes bytes(size);
  size_t i = 0;
  for (; i + 8 <= size; i += 8) base::store_le64(&bytes[i], random());
  for (; i < size; ++i) bytes[i] = static_cast<uint8_t>(random());
  return bytes;
}

base::Bytes compressible_bytes(size_t size, uint64_t seed) {
  std::mt19937_64 random(seed);
  base::Bytes bytes;
  while (bytes.size() < size) {
    const std::string line = "row " + std::to_string(random() % 100'000) + " of the table, value " +
                             std::to_string(random() % 100) + "\n";
    base::append(bytes, base::as_bytes(line));
  }
  bytes.resize(size);
  return bytes;
}

}  // namespace davit::test
