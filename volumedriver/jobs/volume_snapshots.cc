#include "jobs/volume_snapshots.h"

#include <exception>

#include "base/errors.h"

namespace davit::jobs {

struct VolumeSnapshots::Answer {
  struct Result {
    bool is_there = false;
    Ids ids;
    std::exception_ptr failure;
  };
  base::Synchronized<Result> result;
  std::condition_variable done;
};

VolumeSnapshots::Ids VolumeSnapshots::get(const std::function<Ids()>& look,
                                           const std::function<void(std::function<void()>)>& aside,
                                           std::chrono::milliseconds wait) {
  std::shared_ptr<Answer> answer;
  {
    auto current = current_.lock();
    answer = *current;
    if (!answer) {
      answer = std::make_shared<Answer>();
      aside([this, answer, look] {
        Answer::Result result{.is_there = true, .ids = {}, .failure = {}};
        try {
          result.ids = look();
        } catch (...) {
          result.failure = std::current_exception();
        }
        // Whoever comes from here on asks anew.
        current_.lock()->reset();
        *answer->result.lock() = std::move(result);
        answer->done.notify_all();
      });
      *current = answer;
    }
  }
  auto result = answer->result.lock();
  if (!result.wait_until(answer->done, std::chrono::steady_clock::now() + wait,
                         [&] { return result->is_there; }))
    throw base::IoError("the repository does not answer", 0, true);
  if (result->failure) std::rethrow_exception(result->failure);
  return result->ids;
}

}  // namespace davit::jobs
