// A request to stop as soon as one of two others is: a job ends when it is told to, or when its lock is lost.
#pragma once

#include <stop_token>
#include <utility>

namespace davit::jobs {

class EitherStop {
 public:
  EitherStop(std::stop_token first, std::stop_token second)
      : first_(std::move(first), Pass{source_}), second_(std::move(second), Pass{source_}) {}

  std::stop_token get() const { return source_.get_token(); }

 private:
  struct Pass {
    std::stop_source source;
    void operator()() { source.request_stop(); }
  };
  std::stop_source source_;
  std::stop_callback<Pass> first_, second_;
};

}  // namespace davit::jobs
