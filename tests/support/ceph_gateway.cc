#include "support/ceph_gateway.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>

#include <chrono>
#include <thread>

#include "base/errors.h"
#include "base/fd.h"
#include "base/files.h"
#include "wire/http_client.h"

namespace davit::test {

namespace {

int free_port() {
  const base::Fd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  if (::bind(socket.get(), reinterpret_cast<sockaddr*>(&address), size) != 0 ||
      ::getsockname(socket.get(), reinterpret_cast<sockaddr*>(&address), &size) != 0)
    base::throw_errno("no port for a gateway", errno);
  return ntohs(address.sin_port);
}

}  // namespace

CephGateway::CephGateway(std::string directory)
    : directory_(std::move(directory)), port_(free_port()) {
  start();
}

CephGateway::~CephGateway() {
  kill();
}

void CephGateway::start() {
  program_ = std::make_unique<Program>(std::vector<std::string>{
      "radosgw", "-c", directory_ + "/ceph.conf", "-n", "client.admin", "--rgw-frontends",
      "beast tcp_nodelay=1 endpoint=" + address(), "-f"});
  // Should this process die, the fixture ends it.
  base::write_file_atomic(note(), base::as_bytes(std::to_string(program_->pid())));
  wire::HttpClient client;
  wire::HttpRequest request;
  request.url = "http://" + address() + "/";
  request.deadlines.total = std::chrono::seconds(2);
  for (int tries = 0;; ++tries) {
    try {
      client.send(request);
      return;
    } catch (const base::IoError&) {
      if (tries == 600) throw;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
}

void CephGateway::kill() {
  program_.reset();
  base::remove_file(note());
}

void CephGateway::freeze() {
  ::kill(program_->pid(), SIGSTOP);
}

void CephGateway::thaw() {
  ::kill(program_->pid(), SIGCONT);
}

}  // namespace davit::test
