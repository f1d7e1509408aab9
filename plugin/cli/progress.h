// Progress on a terminal: a line for each volume that is at work, drawn over itself on stderr. One
// thread.
#pragma once

#include <chrono>
#include <map>
#include <string>
#include <vector>

#include "cli/terminal.h"
#include "cli/text.h"

namespace davit::cli {

// What the lines say; pure, so that it can be tested without a terminal.
class ProgressLines {
 public:
  using Instant = std::chrono::steady_clock::time_point;

  // Takes a "status" message.
  void update(const Json& status, Instant now);
  // At most `max_lines` lines of at most `columns` columns, by volume.
  std::vector<std::string> render(size_t columns, size_t max_lines) const;

 private:
  struct Work {
    std::string phase;
    uint64_t files_done = 0, bytes_done = 0, total_bytes = 0, errors = 0;
    double fraction = -1;         // < 0: unknown
    int64_t seconds_left = -1;    // < 0: unknown
    double bytes_per_second = 0;  // smoothed; 0: not known yet
    Instant measured_at{};
    uint64_t measured_bytes = 0;
  };
  static std::string render(const std::string& volume, size_t name_columns, const Work& work,
                            size_t columns);

  std::map<std::string, Work> works_;
};

class Progress {
 public:
  enum class Style {
    none,
    bars,    // on a terminal
    phases,  // a line when a phase begins: --verbose where there is no terminal
  };
  Progress(Terminal& terminal, Style style) : terminal_(terminal), style_(style) {}
  ~Progress() { clear(); }

  void update(const Json& status);
  // Takes the lines away, so that something else can be written.
  void clear();

 private:
  std::string erasure() const;

  Terminal& terminal_;
  const Style style_;
  ProgressLines lines_;
  std::map<std::string, std::string> phases_;
  size_t drawn_ = 0;
  ProgressLines::Instant drawn_at_{};
};

}  // namespace davit::cli
