#include "wire/sftp_client.h"

#include <algorithm>
#include <cerrno>

#include "base/patience.h"

namespace davit::wire {

using std::chrono::steady_clock;

namespace {
// Servers and routers forget connections that are silent for long.
constexpr auto kKeptFor = std::chrono::seconds(60);
}  // namespace

SftpClient::SftpClient(SftpServer server, SftpAccess access, unsigned limit)
    : server_(std::move(server)), access_(std::move(access)), limit_(limit) {}

SftpClient::~SftpClient() = default;

void SftpClient::wait_for_turn() {
  const base::Patience& patience = base::patience();
  const auto until = steady_clock::now() + std::max(patience.limit, access_.deadlines.idle);
  auto state = state_.lock();
  if (!turn_.wait_until(state.lock(), patience.stop, until,
                        [&] { return state->in_use < limit_; })) {
    if (patience.stop.stop_requested()) throw base::Cancelled();
    throw base::IoError("all " + std::to_string(limit_) + " connections to " + server_.host +
                            " are at work and do not end",
                        ETIMEDOUT, true);
  }
  ++state->in_use;
}

std::unique_ptr<SftpSession> SftpClient::take() {
  wait_for_turn();
  std::vector<Kept> old;  // ends without the lock
  auto state = state_.lock();
  // Those that came back last are at the end.
  const auto now = steady_clock::now();
  auto fresh = state->kept.begin();
  for (; fresh != state->kept.end() && now - fresh->since >= kKeptFor; ++fresh)
    old.push_back(std::move(*fresh));
  state->kept.erase(state->kept.begin(), fresh);
  if (state->kept.empty()) return nullptr;
  auto session = std::move(state->kept.back().session);
  state->kept.pop_back();
  return session;
}

std::unique_ptr<SftpSession> SftpClient::connect() {
  try {
    return std::make_unique<SftpSession>(server_, access_);
  } catch (...) {
    give_back(nullptr);
    throw;
  }
}

void SftpClient::give_back(std::unique_ptr<SftpSession> session) {
  if (session && !session->is_usable()) session.reset();
  {
    auto state = state_.lock();
    --state->in_use;
    if (session) state->kept.push_back({std::move(session), steady_clock::now()});
  }
  turn_.notify_one();
}

}  // namespace davit::wire
