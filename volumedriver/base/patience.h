// How long what a thread asks of a repository's store may be tried again while the store is away.
// A job waits out an outage of minutes; a call that an engine or a person waits for does not.
// Threads that a Crew starts have their starter's.
#pragma once

#include <chrono>
#include <stop_token>

namespace davit::base {

struct Patience {
  std::chrono::milliseconds limit{3'000};  // of one call, from its first failure on
  std::stop_token stop{};                  // ends the waiting; the call then throws Cancelled
};

// Of the calling thread.
const Patience& patience();

// The calling thread's until the scope ends. Scopes nest: the inner one counts.
class PatienceScope {
 public:
  explicit PatienceScope(Patience patience);
  ~PatienceScope();
  PatienceScope(const PatienceScope&) = delete;
  PatienceScope& operator=(const PatienceScope&) = delete;

 private:
  Patience outer_;
};

}  // namespace davit::base
