// Where a command's answer goes: one JSON object a line. Two kinds: straight to the client, for
// short commands and long listings; and through a mailbox, for work that a slow client must not
// hold up nor a gone one end.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>

namespace davit::control {

// Keeps the order of fields: message_type comes first.
using Message = nlohmann::ordered_json;
// One line with its end. Bytes that are not UTF-8 become U+FFFD.
std::string to_line(const Message& message);

// Takes one or more whole lines. May throw when the client is gone.
using Write = std::function<void(std::string_view lines)>;

class Output {
 public:
  virtual ~Output() = default;
  // Throws Cancelled where nobody reads any more and the work is only for the reader.
  virtual void send(const Message& message) = 0;
  // The end of an answer. Never throws: where nobody reads, it is dropped.
  virtual void send_last(const Message& message) noexcept = 0;
  // Of several about one subject only the newest needs to arrive. Never throws, never waits.
  virtual void send_status(const std::string& subject, const Message& message) = 0;
};

// Gathers lines and passes them on from the calling thread. One thread.
class DirectOutput : public Output {
 public:
  DirectOutput(const Write& write, std::stop_token stop) : write_(write), stop_(std::move(stop)) {}
  void send(const Message& message) override;
  void send_last(const Message& message) noexcept override;
  void send_status(const std::string& subject, const Message& message) override;
  // Must be called at the end. Never throws.
  void flush() noexcept;

 private:
  const Write& write_;
  const std::stop_token stop_;
  std::string waiting_;
  bool gone_ = false;
};

// Between the threads of a work, any of which may send, and the one that takes.
class Mailbox : public Output {
 public:
  void send(const Message& message) override;
  void send_last(const Message& message) noexcept override;
  void send_status(const std::string& subject, const Message& message) override;
  // Nothing more will be sent.
  void finish();
  // Nobody will take any more: what is sent is dropped.
  void abandon();

  enum class Taken { lines, finished, stopped };
  // Waits for lines and puts all that are there into `lines`.
  Taken take(std::string& lines, std::stop_token stop);

 private:
  struct Letter {
    std::string subject;  // "": must arrive
    std::string line;
  };
  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::deque<Letter> letters_;  // protected by mutex_, as are the flags
  bool finished_ = false, abandoned_ = false;
};

}  // namespace davit::control
