// Where the daemon listens, and one request to it.
#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/fd.h"
#include "cli/interrupt.h"

namespace davit::cli {

// Where to look, in this order. --socket, $DAVIT_SOCKET and $DAVIT_DATA/davit.sock are alone where
// they are given; else beside this executable (DATA/bin/davit: its own daemon), /var/lib/davit, and
// the user's own for rootless engines ($XDG_DATA_HOME or ~/.local/share).
std::vector<std::string> socket_candidates(const std::string& option);

// The first that somebody answers on. Throws IoError that says where it looked and what to do.
base::Fd connect_to_daemon(const std::vector<std::string>& candidates);

struct Exchange {
  std::string method, path, body;
  const Interrupt* interrupt = nullptr;                           // Cancelled when it arrives
  std::optional<std::chrono::steady_clock::time_point> deadline;  // IoError when it passes
};
// Sends the request and gives each line of the answer. Throws Corrupt when the answer is cut or no
// HTTP, IoError when the connection breaks, Cancelled.
void exchange(const base::Fd& socket, const Exchange& request,
              const std::function<void(std::string_view)>& on_line);

}  // namespace davit::cli
