// A store that tries again what fails in passing: IoErrors that are transient(), and nothing else,
// at the pauses of backoff.h, for as long as the calling thread's patience allows
// (base/patience.h). A request to stop ends a wait at once, with Cancelled. What the last try threw
// is thrown on.
//
// A call whose answer was lost may have happened; all calls of a store may therefore be repeated. A
// Draft's commit is tried again, what is appended to it is not. A listing is collected before it is
// given on, so that no file comes twice and what the caller's function throws is its own: 40 bytes
// a file meanwhile, 40 MB for 16 TB of packs.
//
// A call that hangs ends by the inner store's own deadlines, as it has them. A local directory has
// none: the kernel lets nobody out of a call on a network file system that hangs ("hard" mounts).
//
// The log tells of an outage once when it begins (a call fails for the second time) and once when
// it is over, not of each try.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>

#include "base/errors.h"
#include "base/synchronized.h"
#include "store/backoff.h"
#include "store/store.h"

namespace davit::store {

class RetryStore : public Store {
 public:
  using Store::put;
  using Clock = std::chrono::steady_clock;

  // How time passes; tests have their own. Any thread.
  struct Time {
    std::function<Clock::time_point()> now;
    // False where `stop` was requested.
    std::function<bool(Clock::duration, const std::stop_token& stop)> sleep;
    static Time real();
  };

  explicit RetryStore(std::shared_ptr<Store> inner, Time time = Time::real());

  void prepare() override;
  void put(const Name& name, std::span<const base::ByteView> pieces) override;
  std::unique_ptr<Draft> begin_draft(Kind kind, size_t expected_bytes) override;
  base::Bytes get(const Name& name, uint64_t max_bytes) override;
  void get_range(const Name& name, uint64_t offset, std::span<uint8_t> out) override;
  std::optional<uint64_t> find_size(const Name& name) override;
  void list(Kind kind, const std::function<void(const FileInfo&)>& each) override;
  void remove(const Name& name) override;
  bool heal(const Name& name, const std::function<bool(base::ByteView)>& is_whole) override;
  bool is_read_only() override { return inner_->is_read_only(); }
  unsigned connections() const override { return inner_->connections(); }
  std::string describe() const override { return inner_->describe(); }

 private:
  class RetryDraft;
  // A call that failed and is tried again, from then to its end.
  class Trouble;
  struct Outage {
    unsigned troubled = 0;                   // calls that are tried again now
    std::optional<Clock::time_point> since;  // where the log was told
  };

  template <typename Do>
  auto again(Do&& act);
  // Whatever was asked, the store has answered.
  void note_answer();

  const std::shared_ptr<Store> inner_;
  const Time time_;
  base::Synchronized<Outage> outage_;
  std::atomic<bool> is_out_{false};  // outage_.since is set: for a look without the lock
};

}  // namespace davit::store
