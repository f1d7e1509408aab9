#include "jobs/quorum.h"

#include <condition_variable>
#include <mutex>

#include "base/errors.h"
#include "base/patience.h"

namespace davit::jobs {

namespace {
constexpr std::chrono::milliseconds kPause{200};
}

void wait_for_quorum(Context& context, const std::string& snapshot,
                     const std::function<void(std::string)>& set_phase, std::stop_token stop) {
  const auto wanted = static_cast<size_t>(context.settings.number("DAVIT_QUORUM"));
  if (wanted <= 1) return;
  const auto stores = context.repository.find_mirrors(*context.repository.get());
  const size_t mirrors = stores ? stores->mirrors() : 0;
  if (wanted > 1 + mirrors)
    throw base::UsageError("DAVIT_QUORUM asks for " + std::to_string(wanted) +
                           " stores, and there are " + std::to_string(1 + mirrors) +
                           ": the repository and what DAVIT_MIRRORS names");
  const store::Name name{store::Kind::snapshot, base::Id::parse(snapshot).value()};
  set_phase("waiting for mirrors");
  const auto deadline = std::chrono::steady_clock::now() + context.quorum_wait;
  const base::PatienceScope quick({std::chrono::seconds(1), stop});
  std::mutex mutex;
  std::condition_variable_any never;
  std::vector<bool> has(mirrors);
  for (;;) {
    size_t count = 1;
    std::string lacking;
    for (size_t i = 0; i < mirrors; ++i) {
      store::Store& mirror = *stores->mirror(i).store;
      try {
        if (!has[i]) has[i] = mirror.find_size(name).has_value();
      } catch (const base::Error&) {  // the status of the mirror tells why
      }
      if (has[i])
        ++count;
      else
        lacking += (lacking.empty() ? "" : ", ") + mirror.describe();
    }
    if (count >= wanted) return;
    if (std::chrono::steady_clock::now() >= deadline)
      throw base::IoError("the snapshot " + snapshot.substr(0, 8) + " is stored, but in " +
                              std::to_string(count) + " of the " + std::to_string(wanted) +
                              " stores that DAVIT_QUORUM asks for: " + lacking +
                              " lacks it (davit mirrors tells why)",
                          0, true);
    std::unique_lock lock(mutex);
    never.wait_for(lock, stop, kPause, [] { return false; });
    if (stop.stop_requested()) throw base::Cancelled();
  }
}

}  // namespace davit::jobs
