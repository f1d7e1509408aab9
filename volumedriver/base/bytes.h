// Bytes and their spellings. All integers of the repository format are little endian.
#pragma once

#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace davit::base {

// An allocator that leaves new bytes uninitialised, so that resize() of a megabyte buffer costs nothing.
template <typename T>
struct UninitializedAllocator : std::allocator<T> {
  template <typename U>
  struct rebind {
    using other = UninitializedAllocator<U>;
  };
  using std::allocator<T>::allocator;
  template <typename U>
  void construct(U* place) noexcept {
    ::new (static_cast<void*>(place)) U;
  }
  template <typename U, typename... Arguments>
  void construct(U* place, Arguments&&... arguments) {
    ::new (static_cast<void*>(place)) U(std::forward<Arguments>(arguments)...);
  }
};

// Owned bytes; resize() does not clear what it adds.
using Bytes = std::vector<uint8_t, UninitializedAllocator<uint8_t>>;
// Borrowed bytes; valid while their owner is.
using ByteView = std::span<const uint8_t>;

inline ByteView as_bytes(std::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}
inline std::string_view as_text(ByteView bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}
// One memcpy; insert() would construct byte by byte. `more` must not lie in `to`.
inline void append(Bytes& to, ByteView more) {
  const size_t size = to.size();
  to.resize(size + more.size());
  if (!more.empty()) std::memcpy(to.data() + size, more.data(), more.size());
}
// Gives the memory behind the first `keep_bytes` back to the system; the capacity stays. What was
// there is lost.
void trim(Bytes& bytes, size_t keep_bytes);
inline Bytes to_bytes(ByteView view) { return Bytes(view.begin(), view.end()); }

inline uint32_t load_le32(const uint8_t* from) {
  uint32_t value;
  std::memcpy(&value, from, 4);
  return value;
}
inline uint64_t load_le64(const uint8_t* from) {
  uint64_t value;
  std::memcpy(&value, from, 8);
  return value;
}
inline void store_le32(uint8_t* to, uint32_t value) { std::memcpy(to, &value, 4); }
inline void store_le64(uint8_t* to, uint64_t value) { std::memcpy(to, &value, 8); }

std::string hex(ByteView bytes);
// Lower or upper case digits; throws UsageError on anything else or an odd length.
Bytes from_hex(std::string_view digits);

// Standard alphabet, with padding.
std::string base64(ByteView bytes);
// Throws Corrupt on anything that base64() could not have written.
Bytes from_base64(std::string_view text);

// From the kernel's generator.
void random_fill(std::span<uint8_t> out);
// From 0 to below 1.
double random_fraction();
// A random (version 4) UUID, lower case, with dashes: 36 characters.
std::string make_uuid();

// "1.5 GiB"; for people only.
std::string human_size(uint64_t size_bytes);

}  // namespace davit::base
