// The control API: what the command line asks of the daemon, as JSON. POST /v1/COMMAND with a flat
// JSON object; the answer is always one JSON object a line with a message_type, the last always
//
//   {"message_type":"exit","exit_code":N}      N as restic's exit codes: 0, 1, 3, 10, 11, 12, 130
//
// and before it, where something failed, {"message_type":"error","message":…,"kind":…,"code":N}. An
// answer that ends without an exit line was cut off. GET /v1/version tells who answers.
//
// Knows nothing of HTTP beyond method and path, so that it needs no socket to be tested.
#pragma once

#include <functional>
#include <stop_token>
#include <string>
#include <string_view>

#include "control/background.h"
#include "control/output.h"
#include "jobs/operations.h"

namespace davit::control {

class ControlApi {
 public:
  // `operations` is borrowed and must outlive this. Calls of it that began over a connection may
  // still run when handle() has returned; the destructor stops them and waits.
  ControlApi(jobs::Operations& operations, std::string version)
      : operations_(operations), version_(std::move(version)) {}

  // Answers one request, as content of type application/x-ndjson with status 200, whatever it says.
  // `write` gets one or more whole lines at a time, always from the calling thread; it may throw
  // when the client is gone. `stop` fires when the client hangs up or the server stops: a backup or
  // a restore goes on without its client, everything else ends. Throws nothing. Any thread.
  void handle(std::string_view method, std::string_view path, std::string_view body,
              const Write& write, std::stop_token stop);

  // GET /metrics, in Prometheus' text format. Throws what the operation throws. Any thread.
  std::string metrics();

  // Tells all work that was asked for here to stop; for the daemon's end.
  void stop() { background_.stop(); }

 private:
  jobs::Operations& operations_;
  const std::string version_;
  Background background_;  // last: its threads use the others
};

inline constexpr const char* kContentType = "application/x-ndjson";

}  // namespace davit::control
