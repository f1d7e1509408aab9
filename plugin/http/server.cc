#include "http/server.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <condition_variable>
#include <map>
#include <mutex>
#include <optional>
#include <system_error>
#include <thread>

#include "base/errors.h"
#include "base/fd.h"
#include "base/log.h"
#include "http/session.h"
#include "http/unix_socket.h"

namespace davit::http {

namespace {

// Keys of what the accepting thread waits for; connections have keys above these.
constexpr uint64_t kListener = 0, kWake = 1, kFirstConnection = 2;
// How long it leaves the backlog alone when the process has no descriptor or memory left.
constexpr int kExhaustedMilliseconds = 100;

struct Connection {
  base::Fd fd;
  std::thread thread;
  std::stop_source stop;
  bool busy = false;  // a handler is at work on it
};

}  // namespace

struct Server::Impl {
  const ServerOptions options;
  const Handler handler;
  base::Fd listener, poller, wake;
  struct stat file {};

  mutable std::mutex mutex;
  std::condition_variable ended;
  std::map<uint64_t, Connection> connections;
  std::vector<std::thread> finished;  // to be joined; their connections are gone
  uint64_t next_key = kFirstConnection;
  bool stopping = false;                                        // no new connection, no new request
  bool closing = false;                                         // the accepting thread ends
  std::optional<std::chrono::steady_clock::time_point> warned;  // that all connections are taken

  std::thread accepting;  // accepts, and sees which clients of running handlers hang up

  Impl(ServerOptions the_options, Handler the_handler)
      : options(std::move(the_options)), handler(std::move(the_handler)) {}

  void watch(uint64_t key, int fd, uint32_t events, int operation = EPOLL_CTL_ADD) {
    epoll_event event{};
    event.events = events;
    event.data.u64 = key;
    if (::epoll_ctl(poller.get(), operation, fd, &event) != 0)
      base::throw_errno("epoll_ctl", errno);
  }
  void rouse() { base::write_all(wake.get(), std::array<uint8_t, 8>{1}); }

  void loop();
  bool accept_one();
  void serve(uint64_t key, int fd);
  std::optional<std::stop_token> begin_request(uint64_t key);
  void end_request(uint64_t key);
  void hung_up(uint64_t key);
  void join_finished();
};

Server::Server(ServerOptions options, Handler handler)
    : impl_(std::make_unique<Impl>(std::move(options), std::move(handler))) {
  Impl& self = *impl_;
  self.poller = base::Fd(::epoll_create1(EPOLL_CLOEXEC));
  self.wake = base::Fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!self.poller || !self.wake) base::throw_errno("cannot watch connections", errno);
  self.listener = listen_unix(self.options.path, self.options.mode);
  if (::lstat(self.options.path.c_str(), &self.file) != 0)
    base::throw_errno("cannot stat " + self.options.path, errno);
  self.watch(kListener, self.listener.get(), EPOLLIN);
  self.watch(kWake, self.wake.get(), EPOLLIN);
  self.accepting = std::thread([&self] { self.loop(); });
}

Server::~Server() {
  stop(std::chrono::milliseconds(0));
  std::unique_lock lock(impl_->mutex);
  impl_->ended.wait(lock, [&] { return impl_->connections.empty(); });
  impl_->closing = true;
  lock.unlock();
  impl_->rouse();
  impl_->accepting.join();
  impl_->join_finished();
}

bool Server::stop(std::chrono::milliseconds grace) {
  std::vector<std::stop_source> running;
  std::unique_lock lock(impl_->mutex);
  if (!impl_->stopping) {
    impl_->stopping = true;
    struct stat status;
    if (::lstat(impl_->options.path.c_str(), &status) == 0 && status.st_ino == impl_->file.st_ino &&
        status.st_dev == impl_->file.st_dev)
      ::unlink(impl_->options.path.c_str());
  }
  for (auto& [key, connection] : impl_->connections) {
    if (connection.busy)
      running.push_back(connection.stop);
    else
      ::shutdown(connection.fd.get(), SHUT_RDWR);
  }
  lock.unlock();
  impl_->rouse();
  for (std::stop_source& stop : running) stop.request_stop();
  lock.lock();
  const auto none_left = [&] { return impl_->connections.empty(); };
  if (impl_->ended.wait_for(lock, grace, none_left)) return true;
  for (auto& [key, connection] : impl_->connections) ::shutdown(connection.fd.get(), SHUT_RDWR);
  return false;
}

size_t Server::connections() const {
  std::lock_guard lock(impl_->mutex);
  return impl_->connections.size();
}

void Server::Impl::loop() {
  bool listening = true;
  const auto listen_again = [&](bool wanted) {
    if (listening != wanted)
      watch(kListener, listener.get(), wanted ? uint32_t{EPOLLIN} : 0, EPOLL_CTL_MOD);
    listening = wanted;
  };
  bool exhausted = false, full = false;
  for (;;) {
    join_finished();
    {
      std::lock_guard lock(mutex);
      if (closing) return;
      full = connections.size() >= options.max_connections;
      if (const auto now = std::chrono::steady_clock::now();
          full && (!warned || now - *warned > std::chrono::minutes(1))) {
        spdlog::warn("{} has {} connections; more have to wait", options.path, connections.size());
        warned = now;
      }
      if (stopping && listener) {
        listener.reset();  // what waits in the backlog sees that nobody is there
        listening = false;
      }
      if (listener) listen_again(!full && !exhausted);
    }
    std::array<epoll_event, 64> events;
    const int count = ::epoll_wait(poller.get(), events.data(), events.size(),
                                   exhausted ? kExhaustedMilliseconds : -1);
    if (count < 0 && errno != EINTR) base::throw_errno("epoll_wait", errno);
    exhausted = false;
    for (int i = 0; i < count; ++i) {
      const uint64_t key = events[i].data.u64;
      if (key == kWake) {
        uint64_t ignored;
        [[maybe_unused]] const ssize_t got = ::read(wake.get(), &ignored, sizeof ignored);
      } else if (key == kListener) {
        exhausted = !accept_one();
      } else {
        hung_up(key);
      }
    }
  }
}

// False when the process has nothing left to accept with.
bool Server::Impl::accept_one() {
  base::Fd fd(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!fd) {
    const int number = errno;
    if (number != EMFILE && number != ENFILE && number != ENOBUFS && number != ENOMEM) return true;
    spdlog::warn("cannot accept a connection on {}: {}", options.path,
                 std::generic_category().message(number));
    return false;
  }
  std::lock_guard lock(mutex);
  if (stopping) return true;
  const uint64_t key = next_key++;
  const int number = fd.get();
  Connection& connection = connections[key];
  connection.fd = std::move(fd);
  try {
    connection.thread = std::thread([this, key, number] { serve(key, number); });
  } catch (const std::system_error& error) {
    spdlog::warn("cannot start a thread for a connection on {}: {}", options.path, error.what());
    connections.erase(key);
    return false;
  }
  return true;
}

void Server::Impl::serve(uint64_t key, int fd) {
  try {
    Session session(
        fd, options, handler,
        {[this, key] { return begin_request(key); }, [this, key] { end_request(key); }});
    session.run();
  } catch (const std::exception& error) {
    spdlog::error("a connection on {} failed: {}", options.path, error.what());
  }
  {
    std::lock_guard lock(mutex);
    const auto found = connections.find(key);
    finished.push_back(std::move(found->second.thread));
    connections.erase(found);  // closes it
    ended.notify_all();
  }
  rouse();
}

std::optional<std::stop_token> Server::Impl::begin_request(uint64_t key) {
  std::lock_guard lock(mutex);
  if (stopping) return std::nullopt;
  Connection& connection = connections.at(key);
  connection.stop = std::stop_source();
  connection.busy = true;
  watch(key, connection.fd.get(),
        EPOLLONESHOT);  // EPOLLHUP is reported always: the peer has closed
  return connection.stop.get_token();
}

void Server::Impl::end_request(uint64_t key) {
  std::lock_guard lock(mutex);
  Connection& connection = connections.at(key);
  connection.busy = false;
  ::epoll_ctl(poller.get(), EPOLL_CTL_DEL, connection.fd.get(), nullptr);
  if (stopping) ::shutdown(connection.fd.get(), SHUT_RDWR);
}

void Server::Impl::hung_up(uint64_t key) {
  std::stop_source stop(std::nostopstate);
  {
    std::lock_guard lock(mutex);
    const auto found = connections.find(key);
    if (found == connections.end() || !found->second.busy) return;
    stop = found->second.stop;
  }
  stop.request_stop();
}

void Server::Impl::join_finished() {
  std::vector<std::thread> done;
  {
    std::lock_guard lock(mutex);
    done.swap(finished);
  }
  for (std::thread& thread : done) thread.join();
}

}  // namespace davit::http
