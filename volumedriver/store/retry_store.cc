#include "store/retry_store.h"

#include <type_traits>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "base/log.h"
#include "base/patience.h"
#include "base/sleep.h"

namespace davit::store {

RetryStore::Time RetryStore::Time::real() {
  return {[] { return Clock::now(); },
          [](Clock::duration time, const std::stop_token& stop) {
            return base::sleep_for(time, stop);
          }};
}

RetryStore::RetryStore(std::shared_ptr<Store> inner, Time time)
    : inner_(std::move(inner)), time_(std::move(time)) {}

class RetryStore::Trouble {
 public:
  explicit Trouble(RetryStore& store) : store_(store), backoff_(base::patience().limit) {}
  ~Trouble() {
    if (failures_ > 0) --store_.outage_.lock()->troubled;
  }
  Trouble(const Trouble&) = delete;
  Trouble& operator=(const Trouble&) = delete;

  // Waits for the next try; false where there is none. Throws Cancelled.
  bool wait(const base::IoError& error, Clock::time_point began) {
    const auto now = store_.time_.now();
    const base::Patience& patience = base::patience();
    note(error, now);
    if (patience.stop.stop_requested()) throw base::Cancelled();
    const auto pause = backoff_.next_pause(began, now, base::random_fraction());
    if (!pause) return false;
    if (!store_.time_.sleep(*pause, patience.stop)) throw base::Cancelled();
    return true;
  }

 private:
  void note(const base::IoError& error, Clock::time_point now) {
    auto outage = store_.outage_.lock();
    if (++failures_ == 1) {
      ++outage->troubled;
      first_failure_ = now;
      spdlog::debug("{}", error.what());
      return;
    }
    if (outage->since) return;
    outage->since = first_failure_;
    store_.is_out_ = true;
    spdlog::warn("{} is in trouble, and what is asked of it is tried again: {}", store_.describe(),
                 error.what());
  }

  RetryStore& store_;
  Backoff backoff_;
  unsigned failures_ = 0;
  Clock::time_point first_failure_{};
};

void RetryStore::note_answer() {
  if (!is_out_) return;
  auto outage = outage_.lock();
  if (!outage->since || outage->troubled > 0) return;
  const auto seconds =
      std::chrono::duration_cast<std::chrono::seconds>(time_.now() - *outage->since);
  outage->since.reset();
  is_out_ = false;
  spdlog::info("{} answers again, after {} s", describe(), seconds.count());
}

template <typename Do>
auto RetryStore::again(Do&& act) {
  using Result = std::invoke_result_t<Do>;
  std::optional<std::conditional_t<std::is_void_v<Result>, bool, Result>> result;
  {
    std::optional<Trouble> trouble;
    while (!result) {
      const auto began = time_.now();
      try {
        if constexpr (std::is_void_v<Result>) {
          act();
          result = true;
        } else {
          result.emplace(act());
        }
      } catch (const base::IoError& error) {
        if (!error.transient()) throw;
        if (!trouble) trouble.emplace(*this);
        if (!trouble->wait(error, began)) throw;
      }
    }
  }
  note_answer();
  if constexpr (!std::is_void_v<Result>) return std::move(*result);
}

class RetryStore::RetryDraft : public Draft {
 public:
  RetryDraft(RetryStore& store, std::unique_ptr<Draft> inner)
      : store_(store), inner_(std::move(inner)) {}

  void append(base::ByteView bytes) override { inner_->append(bytes); }
  void read(uint64_t offset, std::span<uint8_t> out) override { inner_->read(offset, out); }
  void commit(const Name& name) override {
    store_.again([&] { inner_->commit(name); });
  }

 private:
  RetryStore& store_;
  const std::unique_ptr<Draft> inner_;
};

void RetryStore::prepare() {
  again([&] { inner_->prepare(); });
}

void RetryStore::put(const Name& name, std::span<const base::ByteView> pieces) {
  again([&] { inner_->put(name, pieces); });
}

std::unique_ptr<Draft> RetryStore::begin_draft(Kind kind, size_t expected_bytes) {
  return std::make_unique<RetryDraft>(
      *this, again([&] { return inner_->begin_draft(kind, expected_bytes); }));
}

base::Bytes RetryStore::get(const Name& name, uint64_t max_bytes) {
  return again([&] { return inner_->get(name, max_bytes); });
}

void RetryStore::get_range(const Name& name, uint64_t offset, std::span<uint8_t> out) {
  again([&] { inner_->get_range(name, offset, out); });
}

std::optional<uint64_t> RetryStore::find_size(const Name& name) {
  return again([&] { return inner_->find_size(name); });
}

void RetryStore::list(Kind kind, const std::function<void(const FileInfo&)>& each) {
  std::vector<FileInfo> files;
  again([&] {
    files.clear();
    inner_->list(kind, [&](const FileInfo& file) { files.push_back(file); });
  });
  for (const FileInfo& file : files) each(file);
}

void RetryStore::remove(const Name& name) {
  again([&] { inner_->remove(name); });
}

bool RetryStore::heal(const Name& name, const std::function<bool(base::ByteView)>& is_whole) {
  return again([&] { return inner_->heal(name, is_whole); });
}

}  // namespace davit::store
