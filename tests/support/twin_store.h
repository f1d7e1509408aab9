// A store that has a second copy of each file behind it, and puts a file right from there when it
// is asked to: what a mirror does.
#pragma once

#include <atomic>
#include <memory>

#include "base/errors.h"
#include "store/store.h"

namespace davit::test {

class TwinStore : public store::Store {
 public:
  using Store::put;

  TwinStore(std::shared_ptr<store::Store> first, std::shared_ptr<store::Store> second)
      : first_(std::move(first)), second_(std::move(second)) {}

  void prepare() override { first_->prepare(); }
  void put(const store::Name& name, std::span<const base::ByteView> pieces) override {
    first_->put(name, pieces);
  }
  base::Bytes get(const store::Name& name, uint64_t max_bytes) override {
    return first_->get(name, max_bytes);
  }
  void get_range(const store::Name& name, uint64_t offset, std::span<uint8_t> out) override {
    first_->get_range(name, offset, out);
  }
  std::optional<uint64_t> find_size(const store::Name& name) override {
    return first_->find_size(name);
  }
  void list(store::Kind kind, const std::function<void(const store::FileInfo&)>& each) override {
    first_->list(kind, each);
  }
  void remove(const store::Name& name) override { first_->remove(name); }
  unsigned connections() const override { return first_->connections(); }
  std::string describe() const override { return first_->describe(); }

  bool heal(const store::Name& name, const std::function<bool(base::ByteView)>& is_whole) override {
    ++asked;
    base::Bytes bytes;
    try {
      bytes = second_->get(name, 64 << 20);
    } catch (const base::NotFound&) {
      return false;
    }
    if (!is_whole(bytes)) return false;
    first_->put(name, bytes);
    return true;
  }

  std::atomic<int> asked{0};

 private:
  const std::shared_ptr<store::Store> first_, second_;
};

}  // namespace davit::test
