#include "crypto/sha256.h"

#include <openssl/evp.h>

#include <new>

#include "base/errors.h"
#include "crypto/vector_state.h"

namespace davit::crypto {
namespace {

// Fetched once: looking an algorithm up costs more than hashing a small blob with it.
const EVP_MD* algorithm() {
  static const EVP_MD* const fetched = EVP_MD_fetch(nullptr, "SHA256", nullptr);
  DAVIT_CHECK(fetched != nullptr);
  return fetched;
}

}  // namespace

void Sha256::Free::operator()(evp_md_ctx_st* context) const {
  EVP_MD_CTX_free(context);
}

Sha256::Sha256() : context_(EVP_MD_CTX_new()) {
  if (!context_) throw std::bad_alloc();
  DAVIT_CHECK(EVP_DigestInit_ex2(context_.get(), algorithm(), nullptr) == 1);
}

void Sha256::update(base::ByteView more) {
  clear_upper_halves();
  DAVIT_CHECK(EVP_DigestUpdate(context_.get(), more.data(), more.size()) == 1);
}

base::Id Sha256::finish() {
  base::Id id;
  DAVIT_CHECK(EVP_DigestFinal_ex(context_.get(), id.bytes.data(), nullptr) == 1);
  DAVIT_CHECK(EVP_DigestInit_ex2(context_.get(), nullptr, nullptr) == 1);
  return id;
}

base::Id sha256(base::ByteView data) {
  thread_local Sha256 hash;
  hash.update(data);
  return hash.finish();
}

}  // namespace davit::crypto
