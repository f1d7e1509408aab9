#include "control/output.h"

#include "base/errors.h"

namespace davit::control {

namespace {

constexpr size_t kFlushBytes = 32 << 10;

}  // namespace

std::string to_line(const Message& message) {
  return message.dump(-1, ' ', false, Message::error_handler_t::replace) + "\n";
}

void DirectOutput::send(const Message& message) {
  if (gone_ || stop_.stop_requested()) throw base::Cancelled();
  waiting_ += to_line(message);
  if (waiting_.size() < kFlushBytes) return;
  flush();
  if (gone_) throw base::Cancelled();
}

void DirectOutput::send_last(const Message& message) noexcept {
  waiting_ += to_line(message);
}

void DirectOutput::send_status(const std::string&, const Message& message) {
  waiting_ += to_line(message);
  flush();
}

void DirectOutput::flush() noexcept {
  if (!gone_ && !waiting_.empty()) {
    try {
      write_(waiting_);
    } catch (...) {  // the connection's error; its owner knows it already
      gone_ = true;
    }
  }
  waiting_.clear();
}

void Mailbox::send(const Message& message) {
  std::string line = to_line(message);
  std::lock_guard guard(mutex_);
  if (abandoned_) return;
  letters_.push_back({"", std::move(line)});
  changed_.notify_one();
}

void Mailbox::send_last(const Message& message) noexcept {
  send(message);
}

void Mailbox::send_status(const std::string& subject, const Message& message) {
  std::string line = to_line(message);
  const std::string key = "=" + subject;
  std::lock_guard guard(mutex_);
  if (abandoned_) return;
  for (Letter& letter : letters_) {
    if (letter.subject == key) {
      letter.line = std::move(line);
      return;
    }
  }
  letters_.push_back({key, std::move(line)});
  changed_.notify_one();
}

void Mailbox::finish() {
  std::lock_guard guard(mutex_);
  finished_ = true;
  changed_.notify_one();
}

void Mailbox::abandon() {
  std::lock_guard guard(mutex_);
  abandoned_ = true;
  letters_.clear();
}

Mailbox::Taken Mailbox::take(std::string& lines, std::stop_token stop) {
  lines.clear();
  std::unique_lock lock(mutex_);
  changed_.wait(lock, stop, [&] { return !letters_.empty() || finished_; });
  for (Letter& letter : letters_) lines += letter.line;
  letters_.clear();
  if (!lines.empty()) return Taken::lines;
  return finished_ ? Taken::finished : Taken::stopped;
}

}  // namespace davit::control
