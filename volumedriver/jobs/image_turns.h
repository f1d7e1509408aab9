// Who loads which image into the engine: one at a time for each name, since a volume and a container of the same point,
// asked for together, both want it. Whoever comes second finds it loaded. Who takes an image away takes a turn, too, so
// that nobody loses what it has just found. Any thread may call anything.
#pragma once

#include <condition_variable>
#include <mutex>
#include <set>
#include <stop_token>
#include <string>

namespace davit::jobs {

class ImageTurns {
 public:
  class Turn {
   public:
    Turn(ImageTurns& turns, std::string reference) : turns_(turns), reference_(std::move(reference)) {}
    ~Turn() { turns_.give_back(reference_); }
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;

   private:
    ImageTurns& turns_;
    const std::string reference_;
  };

  // Waits while somebody else has it. Throws Cancelled on `stop`.
  [[nodiscard]] Turn take(const std::string& reference, std::stop_token stop);

 private:
  void give_back(const std::string& reference);

  std::mutex mutex_;
  std::condition_variable_any given_back_;
  std::set<std::string> taken_;
};

}  // namespace davit::jobs
