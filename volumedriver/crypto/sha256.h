// SHA-256, the repository's name for everything. As fast as the processor's own instructions;
// hashing a small blob allocates nothing.
#pragma once

#include <memory>

#include "base/bytes.h"
#include "base/id.h"

struct evp_md_ctx_st;

namespace davit::crypto {

// Any thread.
base::Id sha256(base::ByteView data);

// Hashes what arrives in pieces. One thread at a time. finish() leaves it ready for the next
// message.
class Sha256 {
 public:
  Sha256();

  void update(base::ByteView more);
  base::Id finish();

 private:
  struct Free {
    void operator()(evp_md_ctx_st* context) const;
  };
  std::unique_ptr<evp_md_ctx_st, Free> context_;
};

}  // namespace davit::crypto
