// A repository for tests of what stands above it: with a fixed key and polynomial, so that nobody
// waits for scrypt. It has no config and no key files: use Repository::init where a test opens it
// again or restic reads it.
#pragma once

#include <memory>

#include "repo/repository.h"
#include "support/memory_store.h"

namespace davit::test {

std::unique_ptr<repo::Repository> make_repository(
    std::shared_ptr<store::Store> store = std::make_shared<MemoryStore>());

// Bytes that do not compress, or that do; the same for the same seed.
base::Bytes random_bytes(size_t size, uint64_t seed);
base::Bytes compressible_bytes(size_t size, uint64_t seed);

}  // namespace davit::test
