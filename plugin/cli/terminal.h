// What the client writes to, and how wide and colourful that is.
#pragma once

#include <cstdio>
#include <string>
#include <string_view>

namespace davit::cli {

enum class Colour { none, bold, faint, red, green, yellow };

class Terminal {
 public:
  // Looks at the descriptor and the environment once: colour needs a terminal, no NO_COLOR, and a
  // TERM that is not "dumb".
  explicit Terminal(std::FILE* stream);

  bool is_terminal() const { return is_terminal_; }
  // Asked each time: windows are resized. 80 where it cannot be known.
  size_t columns() const;
  // `text` in the colour, or as it is where there is none.
  std::string in(Colour colour, std::string_view text) const;
  void write(std::string_view text);
  // Throws IoError when anything that was written is lost (a full disk, …).
  void flush();

 private:
  std::FILE* const stream_;
  bool is_terminal_ = false, coloured_ = false;
};

}  // namespace davit::cli
