#include "store/limited_store.h"

#include <algorithm>

#include "base/errors.h"
#include "base/patience.h"
#include "base/sleep.h"

namespace davit::store {

void LimitedStore::wait_turn(const Name& name, uint64_t bytes) {
  if (name.kind != Kind::data && name.kind != Kind::index) return;
  const auto turn = reserve_(bytes);
  const auto now = std::chrono::steady_clock::now();
  if (turn <= now) return;
  const base::Patience& patience = base::patience();
  if (!base::sleep_until(std::min(turn, now + patience.limit), patience.stop))
    throw base::Cancelled();
}

base::Bytes LimitedStore::get(const Name& name, uint64_t max_bytes) {
  base::Bytes bytes = inner_->get(name, max_bytes);
  // How much it is shows when it is there: whoever comes next waits for it, too.
  wait_turn(name, bytes.size());
  return bytes;
}

void LimitedStore::get_range(const Name& name, uint64_t offset, std::span<uint8_t> out) {
  wait_turn(name, out.size());
  inner_->get_range(name, offset, out);
}

}  // namespace davit::store
