#include "store/store.h"

#include <algorithm>

#include "base/errors.h"

namespace davit::store {

namespace {

class MemoryDraft : public Draft {
 public:
  MemoryDraft(Store& store, size_t expected_bytes) : store_(store) {
    bytes_.reserve(expected_bytes);
  }
  void append(base::ByteView bytes) override { base::append(bytes_, bytes); }
  void read(uint64_t offset, std::span<uint8_t> out) override {
    DAVIT_CHECK(offset <= bytes_.size() && out.size() <= bytes_.size() - offset);
    std::copy_n(bytes_.begin() + static_cast<ptrdiff_t>(offset), out.size(), out.begin());
  }
  void commit(const Name& name) override { store_.put(name, base::ByteView(bytes_)); }

 private:
  Store& store_;
  base::Bytes bytes_;
};

}  // namespace

void not_found(const Name& name) {
  throw base::NotFound("the repository has no " + to_string(name));
}

void too_short(const Name& name, uint64_t offset, size_t bytes) {
  throw base::Corrupt(to_string(name) + " ends before " + std::to_string(offset) + " + " +
                      std::to_string(bytes) + " bytes");
}

bool is_settled(Store& store, const Name& name, uint64_t offset, size_t bytes) {
  if (bytes > 0 && bytes <= INT64_MAX && offset <= static_cast<uint64_t>(INT64_MAX) - bytes)
    return false;
  const auto size_bytes = store.find_size(name);
  if (!size_bytes) not_found(name);
  if (offset > *size_bytes || bytes > 0) too_short(name, offset, bytes);
  return true;
}

std::unique_ptr<Draft> Store::begin_draft(Kind, size_t expected_bytes) {
  return std::make_unique<MemoryDraft>(*this, expected_bytes);
}

bool Store::heal(const Name&, const std::function<bool(base::ByteView)>&) {
  return false;
}

const char* kind_name(Kind kind) {
  switch (kind) {
    case Kind::config:
      return "config";
    case Kind::key:
      return "key";
    case Kind::data:
      return "data";
    case Kind::index:
      return "index";
    case Kind::snapshot:
      return "snapshot";
    case Kind::lock:
      return "lock";
  }
  return "unknown";
}

std::string to_string(const Name& name) {
  if (name.kind == Kind::config) return "config";
  return std::string(kind_name(name.kind)) + "/" + name.id.hex();
}

}  // namespace davit::store
