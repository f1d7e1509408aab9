#include "http/ready_gate.h"

#include <gtest/gtest.h>

#include <thread>

namespace davit::http {
namespace {

using Clock = std::chrono::steady_clock;

TEST(ReadyGate, LetsWaitersThroughWhenItOpens) {
  ReadyGate gate;
  EXPECT_FALSE(gate.wait(Clock::now(), {}));
  bool passed = false;
  std::thread waiter([&] { passed = gate.wait(Clock::now() + std::chrono::minutes(1), {}); });
  gate.open();
  waiter.join();
  EXPECT_TRUE(passed);
  EXPECT_TRUE(gate.is_open());
  EXPECT_TRUE(gate.wait(Clock::now(), {}));
}

TEST(ReadyGate, WaitersGoWhenTheyAreStopped) {
  ReadyGate gate;
  std::stop_source stop;
  bool passed = true;
  std::thread waiter(
      [&] { passed = gate.wait(Clock::now() + std::chrono::minutes(1), stop.get_token()); });
  stop.request_stop();
  waiter.join();
  EXPECT_FALSE(passed);
}

}  // namespace
}  // namespace davit::http
