#include "support/fault_store.h"

#include <type_traits>

#include "base/errors.h"

namespace davit::test {

namespace {

// splitmix64's mixing step.
uint64_t mix(uint64_t value) {
  value += 0x9e3779b97f4a7c15;
  value = (value ^ value >> 30) * 0xbf58476d1ce4e5b9;
  value = (value ^ value >> 27) * 0x94d049bb133111eb;
  return value ^ value >> 31;
}

}  // namespace

void FaultStore::fail_share(double probability, uint64_t seed) {
  seed_ = seed;
  fail_below_ = static_cast<uint64_t>(probability * 4294967296.0);
}

template <typename Do>
auto FaultStore::call(StoreOp op, const store::Name& name, Do&& act) {
  const StoreCall call{op, name, ++calls_};
  if (call.number == fail_call_ || (mix(seed_ ^ mix(call.number)) >> 32) < fail_below_)
    throw base::IoError("store call " + std::to_string(call.number) + " was made to fail", 0, true);
  if (before_) before_(call);
  if constexpr (std::is_void_v<decltype(act())>) {
    act();
    if (after_) after_(call);
  } else {
    auto result = act();
    if (after_) after_(call);
    return result;
  }
}

void FaultStore::prepare() {
  call(StoreOp::prepare, {}, [&] { inner_->prepare(); });
}

void FaultStore::put(const store::Name& name, std::span<const base::ByteView> pieces) {
  call(StoreOp::put, name, [&] { inner_->put(name, pieces); });
}

base::Bytes FaultStore::get(const store::Name& name, uint64_t max_bytes) {
  return call(StoreOp::get, name, [&] { return inner_->get(name, max_bytes); });
}

void FaultStore::get_range(const store::Name& name, uint64_t offset, std::span<uint8_t> out) {
  call(StoreOp::get_range, name, [&] { inner_->get_range(name, offset, out); });
}

std::optional<uint64_t> FaultStore::find_size(const store::Name& name) {
  return call(StoreOp::find_size, name, [&] { return inner_->find_size(name); });
}

void FaultStore::list(store::Kind kind, const std::function<void(const store::FileInfo&)>& each) {
  call(StoreOp::list, {kind, {}}, [&] { inner_->list(kind, each); });
}

void FaultStore::remove(const store::Name& name) {
  call(StoreOp::remove, name, [&] { inner_->remove(name); });
}

}  // namespace davit::test
