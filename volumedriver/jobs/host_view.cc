#include "jobs/host_view.h"

#include <arpa/inet.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <sstream>

#include "base/errors.h"
#include "base/files.h"

namespace davit::jobs {

namespace {

constexpr size_t kMaxFileBytes = 64 << 20;
constexpr std::string_view kTcpListen = "0A", kUdpBound = "07";

std::optional<uint32_t> hex(std::string_view digits) {
  uint32_t value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value, 16);
  if (error != std::errc() || end != digits.data() + digits.size()) return std::nullopt;
  return value;
}

// "0100007F": 32-bit words as the processor has them in memory.
std::optional<std::string> parse_address(std::string_view digits) {
  if (digits.size() != 8 && digits.size() != 32) return std::nullopt;
  std::array<uint32_t, 4> words{};
  for (size_t i = 0; i < digits.size() / 8; ++i) {
    const auto word = hex(digits.substr(i * 8, 8));
    if (!word) return std::nullopt;
    words[i] = *word;
  }
  char text[INET6_ADDRSTRLEN];
  if (!::inet_ntop(digits.size() == 8 ? AF_INET : AF_INET6, words.data(), text, sizeof text)) return std::nullopt;
  return text;
}

// What /proc cannot show right now, or this system does not have, counts as nothing.
std::string read_file(const std::string& path) {
  try {
    const auto bytes = base::find_file(path, kMaxFileBytes);
    return bytes ? std::string(base::as_text(*bytes)) : "";
  } catch (const base::Error&) {
    return "";
  }
}

bool is_there(const std::string& path) {
  struct stat info {};
  return ::stat(path.c_str(), &info) == 0;
}

// The host's own /dev is of type devtmpfs; what a container runtime makes is a tmpfs.
bool sees_hosts_dev(const std::string& root) {
  std::istringstream mounts(read_file(root + "/proc/self/mountinfo"));
  bool devtmpfs = false;
  for (std::string line; std::getline(mounts, line);) {
    std::istringstream fields(line);
    std::string field, place;
    for (int i = 0; i < 5 && fields >> field; ++i) place = field;
    if (place != "/dev") continue;
    while (fields >> field && field != "-") {
    }
    if (fields >> field) devtmpfs = field == "devtmpfs";  // the last mount at /dev counts
  }
  return devtmpfs;
}

// Whether the kernel knows a device of this name below /dev, or one in a directory of this name.
bool kernel_knows(const std::string& name, const std::string& root) {
  for (const char* kind : {"/sys/dev/block", "/sys/dev/char"})
    for (const std::string& number : base::list_directory(root + kind)) {
      std::istringstream lines(read_file(root + kind + "/" + number + "/uevent"));
      for (std::string line; std::getline(lines, line);)
        if (line == "DEVNAME=" + name || line.starts_with("DEVNAME=" + name + "/")) return true;
    }
  return false;
}

// As udev calls what it keeps about the link /dev/NAME: "disk/by-id/x" is "\\x2fdisk\\x2fby-id\\x2fx".
std::string udev_name(const std::string& name) {
  std::string encoded;
  for (const char c : "/" + name)
    if (c == '/')
      encoded += "\\x2f";
    else if (c == '\\')
      encoded += "\\x5c";
    else
      encoded += c;
  return encoded;
}

}  // namespace

std::vector<ListeningSocket> parse_sockets(std::string_view file, const std::string& protocol) {
  std::vector<ListeningSocket> sockets;
  std::istringstream lines{std::string(file)};
  std::string line;
  std::getline(lines, line);  // what the columns are
  while (std::getline(lines, line)) {
    std::istringstream fields(line);
    std::string number, local, remote, state;
    if (!(fields >> number >> local >> remote >> state)) continue;
    if (state != (protocol == "tcp" ? kTcpListen : kUdpBound)) continue;
    const size_t colon = local.find(':');
    if (colon == std::string::npos) continue;
    const auto address = parse_address(std::string_view(local).substr(0, colon));
    const auto port = hex(std::string_view(local).substr(colon + 1));
    if (address && port && *port <= 0xffff) sockets.push_back({protocol, *address, static_cast<uint16_t>(*port)});
  }
  return sockets;
}

std::vector<ListeningSocket> listening_sockets() {
  std::vector<ListeningSocket> all;
  for (const auto& [file, protocol] : {std::pair("tcp", "tcp"), std::pair("tcp6", "tcp"), std::pair("udp", "udp"),
                                       std::pair("udp6", "udp")})
    for (auto& socket : parse_sockets(read_file(std::string("/proc/net/") + file), protocol))
      all.push_back(std::move(socket));
  return all;
}

Presence find_device(const std::string& path, const std::string& root) {
  constexpr std::string_view kDev = "/dev/";
  const bool hosts_dev = sees_hosts_dev(root);
  if (!path.starts_with(kDev)) return Presence::unknown;  // somewhere in the host's files
  if (hosts_dev) return is_there(root + path) ? Presence::here : Presence::absent;
  const std::string name = path.substr(kDev.size());
  if (kernel_knows(name, root)) return Presence::here;
  for (const char* links : {"/host/run/udev/links", "/run/udev/links"})
    if (is_there(root + links)) return is_there(root + links + "/" + udev_name(name)) ? Presence::here : Presence::absent;
  return name.find('/') != std::string::npos ? Presence::unknown : Presence::absent;
}

}  // namespace davit::jobs
