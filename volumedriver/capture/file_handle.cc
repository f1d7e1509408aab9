#include "capture/file_handle.h"

#include <cstring>

namespace davit::capture {

namespace {

uint64_t mix(uint64_t value) {
  value ^= value >> 32;
  value *= 0xe9846af9b1a615dd;
  value ^= value >> 29;
  value *= 0xbf58476d1ce4e5b9;
  return value ^ (value >> 32);
}

}  // namespace

uint64_t handle_number(const struct file_handle& handle) {
  uint64_t hash = mix(static_cast<uint64_t>(handle.handle_type) << 32 | handle.handle_bytes);
  for (unsigned at = 0; at < handle.handle_bytes; at += 8) {
    uint64_t word = 0;
    const unsigned rest = handle.handle_bytes - at;
    std::memcpy(&word, handle.f_handle + at, rest < 8 ? rest : 8);
    hash = mix(hash ^ word) + at;
  }
  return hash ? hash : 1;
}

uint64_t find_handle(int directory, const char* name, int flags) {
  alignas(struct file_handle) char buffer[sizeof(struct file_handle) + MAX_HANDLE_SZ];
  auto* handle = reinterpret_cast<struct file_handle*>(buffer);
  handle->handle_bytes = MAX_HANDLE_SZ;
  int mount;
  if (::name_to_handle_at(directory, name, handle, &mount, flags) != 0) return 0;
  return handle_number(*handle);
}

uint64_t find_handle(int fd) {
  return find_handle(fd, "", AT_EMPTY_PATH);
}

}  // namespace davit::capture
