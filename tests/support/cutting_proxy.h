// A TCP proxy on loopback that breaks a connection off where a test says: for servers that are real
// and connections that are not good. One thread a connection; everything ends with the proxy.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <string>

#include "base/synchronized.h"
#include "support/raw_server.h"

namespace davit::test {

class CuttingProxy {
 public:
  enum class Direction : uint8_t { up, down };  // to the server, from it

  // In front of 127.0.0.1:PORT ("127.0.0.1:8000").
  explicit CuttingProxy(const std::string& server);

  std::string address() const { return "127.0.0.1:" + std::to_string(server_.port()); }
  // The next connection that is made is reset when so many bytes have passed in that direction.
  void cut_next(Direction direction, uint64_t after_bytes);
  // How many have been reset.
  int cuts() const { return cuts_; }
  // Returns when all connections that were made have ended.
  void settle() const;
  // What passed over the connection that ended last.
  uint64_t passed(Direction direction) const { return passed_[static_cast<size_t>(direction)]; }

 private:
  struct Cut {
    Direction direction;
    uint64_t after_bytes;
  };
  void serve(int client);

  const int server_port_;
  base::Synchronized<std::optional<Cut>> next_;
  std::atomic<int> cuts_{0}, ended_{0};
  std::atomic<uint64_t> passed_[2] = {};
  RawServer server_;  // last, so that its threads end first
};

}  // namespace davit::test
