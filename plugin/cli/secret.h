// Passwords on their way in: from a file, from stdin, or from somebody who types without an echo.
// Never from argv, where every user of the machine could read them.
#pragma once

#include <string>

#include "cli/interrupt.h"

namespace davit::cli {

// The content of the file without blanks around it, as restic reads a password file. Throws
// UsageError when it is empty, IoError when it cannot be read.
std::string read_secret_file(const std::string& path);
// The first line of stdin when that is no terminal, else asked for; twice when `twice`. Throws
// UsageError when the two differ or it is empty, Cancelled.
std::string read_secret(const std::string& prompt, bool twice, const Interrupt& interrupt);
// All of stdin without the last line's end, when that is no terminal; else one line, asked for
// without an echo.
std::string read_value(const std::string& prompt, const Interrupt& interrupt);

}  // namespace davit::cli
