// A store that does what another does, until a test says otherwise: it numbers the calls, can fail
// the Nth or a random share of them, and calls hooks before and after each.
#pragma once

#include <atomic>
#include <functional>
#include <memory>

#include "base/synchronized.h"
#include "store/store.h"

namespace davit::test {

enum class StoreOp : uint8_t { prepare, put, get, get_range, find_size, list, remove };

struct StoreCall {
  StoreOp op;
  store::Name name;     // of list: the kind only
  uint64_t number = 0;  // 1 for the first call
};

class FaultStore : public store::Store {
 public:
  using Store::put;
  using Hook = std::function<void(const StoreCall&)>;

  explicit FaultStore(std::shared_ptr<store::Store> inner) : inner_(std::move(inner)) {}

  // Hooks may throw: `before` then keeps the call from happening, `after` makes one that happened
  // look failed. Set them while nobody uses the store.
  void before_each(Hook hook) { before_ = std::move(hook); }
  void after_each(Hook hook) { after_ = std::move(hook); }
  // The call of that number throws a transient IoError. 0: none.
  void fail_call(uint64_t number) { fail_call_ = number; }
  // Each call throws with this probability, chosen by `seed` and its number.
  void fail_share(double probability, uint64_t seed);
  uint64_t calls() const { return calls_; }

  void prepare() override;
  void put(const store::Name& name, std::span<const base::ByteView> pieces) override;
  base::Bytes get(const store::Name& name, uint64_t max_bytes) override;
  void get_range(const store::Name& name, uint64_t offset, std::span<uint8_t> out) override;
  std::optional<uint64_t> find_size(const store::Name& name) override;
  void list(store::Kind kind, const std::function<void(const store::FileInfo&)>& each) override;
  void remove(const store::Name& name) override;
  bool is_read_only() override { return inner_->is_read_only(); }
  unsigned connections() const override { return inner_->connections(); }
  std::string describe() const override { return inner_->describe(); }

 private:
  template <typename Do>
  auto call(StoreOp op, const store::Name& name, Do&& act);

  const std::shared_ptr<store::Store> inner_;
  Hook before_, after_;
  std::atomic<uint64_t> calls_{0}, fail_call_{0}, fail_below_{0}, seed_{0};
};

}  // namespace davit::test
