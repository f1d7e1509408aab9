// The few calls on Unix stream sockets that the server needs. Sending never raises SIGPIPE.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/fd.h"

namespace davit::http {

using Deadline = std::optional<std::chrono::steady_clock::time_point>;  // nothing: wait for ever

// A listening socket, non-blocking, its file with exactly this mode from the first moment. A socket
// that a dead process left is replaced; throws Conflict when somebody listens there or when it is
// no socket at all, UsageError when the path is longer than the kernel takes (107 bytes).
base::Fd listen_unix(const std::string& path, mode_t mode);

enum class Received { bytes, end, late };
// Waits for bytes; at least one and at most out.size() come into `out`, and `size` says how many. A
// connection that broke has ended.
Received receive(int fd, std::span<char> out, size_t& size, Deadline deadline);
// False when the peer is gone, or took too little until the deadline.
bool send_all(int fd, std::string_view bytes, Deadline deadline);

}  // namespace davit::http
