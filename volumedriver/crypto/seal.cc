#include "crypto/seal.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include <algorithm>
#include <memory>
#include <new>

#include "base/errors.h"

namespace davit::crypto {
namespace {

// OpenSSL counts in int; a multiple of the block size keeps the counter in step.
constexpr size_t kMaxPiece = size_t{1} << 30;

bool all_zero(base::ByteView bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](uint8_t byte) { return byte == 0; });
}

struct Algorithms {
  EVP_CIPHER* ctr = EVP_CIPHER_fetch(nullptr, "AES-256-CTR", nullptr);
  EVP_CIPHER* ecb = EVP_CIPHER_fetch(nullptr, "AES-128-ECB", nullptr);
  EVP_MAC* poly1305 = EVP_MAC_fetch(nullptr, "POLY1305", nullptr);
};

const Algorithms& algorithms() {
  static const Algorithms fetched;
  DAVIT_CHECK(fetched.ctr != nullptr && fetched.ecb != nullptr && fetched.poly1305 != nullptr);
  return fetched;
}

// The contexts of one thread, which keep the expanded keys between blobs: expanding them costs as
// much as encrypting a small one.
class Engine {
 public:
  Engine()
      : ctr_(EVP_CIPHER_CTX_new(), EVP_CIPHER_CTX_free),
        ecb_(EVP_CIPHER_CTX_new(), EVP_CIPHER_CTX_free),
        mac_(EVP_MAC_CTX_new(algorithms().poly1305), EVP_MAC_CTX_free) {
    if (!ctr_ || !ecb_ || !mac_) throw std::bad_alloc();
  }
  ~Engine() { OPENSSL_cleanse(&key_, sizeof key_); }

  void use(const Key& key) {
    if (key == key_) return;
    if (!key.is_valid())
      throw base::Corrupt("the encryption key is not valid: a part of it is zero");
    key_ = Key{};  // valid for no one while the contexts change
    const bool good =
        EVP_EncryptInit_ex2(ctr_.get(), algorithms().ctr, key.encrypt.data(), nullptr, nullptr) ==
            1 &&
        EVP_EncryptInit_ex2(ecb_.get(), algorithms().ecb, key.mac_k.data(), nullptr, nullptr) == 1;
    DAVIT_CHECK(good);
    key_ = key;
  }

  // Counter mode is its own inverse.
  void crypt(const uint8_t* iv, base::ByteView from, uint8_t* to) {
    DAVIT_CHECK(EVP_EncryptInit_ex2(ctr_.get(), nullptr, nullptr, iv, nullptr) == 1);
    while (!from.empty()) {
      const size_t piece = std::min(from.size(), kMaxPiece);
      int written = 0;
      DAVIT_CHECK(
          EVP_EncryptUpdate(ctr_.get(), to, &written, from.data(), static_cast<int>(piece)) == 1);
      from = from.subspan(piece);
      to += piece;
    }
  }

  std::array<uint8_t, kTagSize> tag(const uint8_t* iv, base::ByteView ciphertext) {
    uint8_t one_time_key[32];  // r || s; Poly1305 clamps r itself
    std::memcpy(one_time_key, key_.mac_r.data(), 16);
    int written = 0;
    DAVIT_CHECK(EVP_EncryptUpdate(ecb_.get(), one_time_key + 16, &written, iv, 16) == 1 &&
                written == 16);
    std::array<uint8_t, kTagSize> tag;
    size_t tag_size = 0;
    const bool good = EVP_MAC_init(mac_.get(), one_time_key, sizeof one_time_key, nullptr) == 1 &&
                      EVP_MAC_update(mac_.get(), ciphertext.data(), ciphertext.size()) == 1 &&
                      EVP_MAC_final(mac_.get(), tag.data(), &tag_size, tag.size()) == 1 &&
                      tag_size == tag.size();
    DAVIT_CHECK(good);
    OPENSSL_cleanse(one_time_key, sizeof one_time_key);
    return tag;
  }

 private:
  std::unique_ptr<EVP_CIPHER_CTX, decltype(&EVP_CIPHER_CTX_free)> ctr_;
  std::unique_ptr<EVP_CIPHER_CTX, decltype(&EVP_CIPHER_CTX_free)> ecb_;
  std::unique_ptr<EVP_MAC_CTX, decltype(&EVP_MAC_CTX_free)> mac_;
  Key key_;  // all zero, which no valid key is, before the first use
};

Engine& engine_for(const Key& key) {
  thread_local Engine engine;
  engine.use(key);
  return engine;
}

// Encrypts into `box`, whose middle part may be `plain` itself.
void seal_into(const Key& key, base::ByteView plain, uint8_t* box) {
  Engine& engine = engine_for(key);
  const std::span<uint8_t> iv(box, kIvSize);
  do {
    random_bytes(iv);
  } while (all_zero(iv));
  uint8_t* ciphertext = box + kIvSize;
  engine.crypt(box, plain, ciphertext);
  const auto tag = engine.tag(box, {ciphertext, plain.size()});
  std::copy(tag.begin(), tag.end(), ciphertext + plain.size());
}

}  // namespace

Key Key::random() {
  Key key;
  do {
    base::random_fill(key.encrypt);
    base::random_fill(key.mac_k);
    base::random_fill(key.mac_r);
  } while (!key.is_valid());
  return key;
}

Key Key::from_bytes(std::span<const uint8_t, 64> bytes) {
  Key key;
  std::copy_n(bytes.begin(), 32, key.encrypt.begin());
  std::copy_n(bytes.begin() + 32, 16, key.mac_k.begin());
  std::copy_n(bytes.begin() + 48, 16, key.mac_r.begin());
  return key;
}

bool Key::is_valid() const {
  return !all_zero(encrypt) && !all_zero(mac_k) && !all_zero(mac_r);
}

void seal(const Key& key, base::ByteView plain, base::Bytes& append_to) {
  const size_t start = append_to.size();
  append_to.resize(start + plain.size() + kSealOverhead);
  seal_into(key, plain, append_to.data() + start);
}

void seal_in_place(const Key& key, std::span<uint8_t> box) {
  DAVIT_CHECK(box.size() >= kSealOverhead);
  seal_into(key, box.subspan(kIvSize, box.size() - kSealOverhead), box.data());
}

void open(const Key& key, base::ByteView sealed, std::span<uint8_t> out) {
  if (sealed.size() < kSealOverhead) throw base::Corrupt("encrypted data is cut short");
  const base::ByteView iv = sealed.first(kIvSize);
  const base::ByteView ciphertext = sealed.subspan(kIvSize, sealed.size() - kSealOverhead);
  DAVIT_CHECK(out.size() == ciphertext.size());
  if (all_zero(iv)) throw base::Corrupt("encrypted data has no initialisation vector");
  Engine& engine = engine_for(key);
  const auto tag = engine.tag(iv.data(), ciphertext);
  if (CRYPTO_memcmp(tag.data(), sealed.data() + sealed.size() - kTagSize, kTagSize) != 0) {
    throw base::Corrupt("encrypted data was changed, or belongs to another key");
  }
  engine.crypt(iv.data(), ciphertext, out.data());
}

base::Bytes open(const Key& key, base::ByteView sealed) {
  if (sealed.size() < kSealOverhead) throw base::Corrupt("encrypted data is cut short");
  base::Bytes plain(sealed.size() - kSealOverhead);
  open(key, sealed, plain);
  return plain;
}

std::span<uint8_t> open_in_place(const Key& key, std::span<uint8_t> sealed) {
  if (sealed.size() < kSealOverhead) throw base::Corrupt("encrypted data is cut short");
  const auto plain = sealed.subspan(kIvSize, sealed.size() - kSealOverhead);
  open(key, sealed, plain);
  return plain;
}

}  // namespace davit::crypto
