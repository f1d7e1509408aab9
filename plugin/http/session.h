// One connection's requests, in order: read, parse, hand on, answer. Used by one thread.
#pragma once

#include <functional>
#include <string>

#include "http/message.h"
#include "http/server.h"

namespace davit::http {

class Session {
 public:
  // Told when a whole request is there and when it is answered, so that the server knows whom it
  // may cut off. begin() gives the request's stop token, or nothing when the server stops: then the
  // session ends.
  struct Watch {
    std::function<std::optional<std::stop_token>()> begin;
    std::function<void()> end;
  };

  Session(int fd, const ServerOptions& options, const Handler& handler, Watch watch)
      : fd_(fd), options_(options), handler_(handler), watch_(std::move(watch)) {}

  // Until the client closes, breaks the protocol or wants no more, or the socket is shut down.
  void run();

 private:
  class Answer;
  enum class Reading { whole, ended, broken };

  Reading read(Request& request, bool& keep_alive, bool& chunks_allowed);
  void refuse(int status, std::string_view why);
  bool handle(Request& request, bool keep_alive, bool chunks_allowed);

  const int fd_;
  const ServerOptions& options_;
  const Handler& handler_;
  const Watch watch_;
  std::string pending_;  // received and not yet parsed: the begin of the next request
};

}  // namespace davit::http
