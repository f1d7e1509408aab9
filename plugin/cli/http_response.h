// Reads an HTTP/1.1 response as it comes and gives its body line by line. No socket here, and
// nothing trusted: every size is bounded, what is no HTTP throws Corrupt.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace davit::cli {

class HttpResponse {
 public:
  using OnLine = std::function<void(std::string_view line)>;  // without its end
  explicit HttpResponse(OnLine on_line) : on_line_(std::move(on_line)) {}

  // Any piece of what arrived. Throws Corrupt; what on_line throws passes through.
  void feed(std::string_view bytes);
  // The connection has ended. Gives an unfinished last line, and throws Corrupt when the response
  // is not whole.
  void end_of_stream();

  int status() const { return status_; }  // 0: not known yet
  // The whole body was given.
  bool complete() const { return state_ == State::done; }

 private:
  enum class State { head, chunk_size, chunk_data, chunk_end, trailer, counted, until_close, done };

  // Takes one line ("\n" or "\r\n" at its end) out of `bytes`; false when it is not whole yet.
  bool take_line(std::string_view& bytes, std::string& line);
  void head_line(const std::string& line);
  void head_is_complete();
  void begin_chunk(const std::string& line);
  void content(std::string_view bytes);
  void finish_body();

  const OnLine on_line_;
  State state_ = State::head;
  int status_ = 0;
  bool chunked_ = false, has_length_ = false;
  uint64_t length_ = 0;  // left of the body or of the chunk
  uint64_t head_bytes_ = 0;
  std::string partial_;    // of a line of the head
  std::string body_line_;  // of a line of the body
};

}  // namespace davit::cli
