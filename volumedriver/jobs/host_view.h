// What the host has that a container may need, as far as davit can see it from where it runs.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace davit::jobs {

struct ListeningSocket {
  std::string protocol, address;  // tcp or udp; "0.0.0.0", "127.0.0.1", "::1"
  uint16_t port = 0;
};
// One file of /proc/net: tcp, tcp6, udp, udp6. Lines that cannot be read are left out.
std::vector<ListeningSocket> parse_sockets(std::string_view file, const std::string& protocol);
// Of the network that davit is in: the host's, in the managed plugin and as a service.
std::vector<ListeningSocket> listening_sockets();

enum class Presence : uint8_t { here, absent, unknown };
// A device of the host, or a directory or link of devices, by its path. A plugin's /dev is not the host's: there the
// kernel's list in /sys tells, and udev's links below /host/run; without the latter, names in directories are unknown.
// `root`: of all these paths.
Presence find_device(const std::string& path, const std::string& root = "");

}  // namespace davit::jobs
