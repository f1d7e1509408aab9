// The protocol "docker.volumedriver/1.0", as Docker and Podman really speak it: JSON in HTTP on one
// side, driver::Driver on the other. Its rules (docs/protocol.md) in short:
//  - Failure is status 500 with {"Err": …}, success 200 with a body: Podman looks at the status,
//  Docker at both.
//  - An engine whose connection broke repeats the request without its body: that is refused, and
//  does nothing.
//  - Get is answered with an error only when the volume certainly does not exist, because the
//  engine then forgets its
//    labels and options for good. Whatever else goes wrong in it, the connection is closed without
//    an answer.
//  - Unmount always succeeds: it ends nothing, and an engine can do nothing about a failure.
//  - Mount never answers an empty path: the engine would mount the plugin's own files into the
//  container.
// Any thread may call anything.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "base/synchronized.h"
#include "driver/driver.h"
#include "http/message.h"
#include "http/ready_gate.h"

namespace davit::protocol {

// How long a call may take before its engine gives up; a little less than the engine's own limit.
struct Budgets {
  std::chrono::milliseconds docker{25'000}, podman{4'000};
};

class VolumePlugin {
 public:
  // `budgets` is asked for each call, so that settings take effect at once.
  explicit VolumePlugin(std::function<Budgets()> budgets) : budgets_(std::move(budgets)) {}

  // Until this is called, calls about volumes wait within their budget, and then get no answer.
  // `driver` must outlive the server that calls handle().
  void open(driver::Driver& driver);
  // Instead of open(): this daemon can never answer truly (another one has the data, or they are
  // not its own). `why` is what a person reads; Get stays without an answer.
  void refuse(const std::string& why);

  void handle(const http::Request& request, http::Responder& responder);

 private:
  struct Route;
  struct Call;
  static const Route* find_route(const std::string& path);
  driver::Driver* wait_for_driver(const driver::Budget& budget);
  driver::Budget budget_of(const http::Request& request) const;

  const std::function<Budgets()> budgets_;
  http::ReadyGate gate_;
  std::atomic<driver::Driver*> driver_{nullptr};
  base::Synchronized<std::string> refusal_;
};

}  // namespace davit::protocol
