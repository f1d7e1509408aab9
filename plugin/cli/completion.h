// Completion of the command line in shells. The shells ask `davit __complete WORD… CURRENT` for
// candidates, in the manner of Cobra ("candidate\tdescription" a line, a last line ":DIRECTIVE"),
// so that docker's own completion of `docker davit` asks the same way.
#pragma once

#include <functional>
#include <string>
#include <vector>

namespace davit::cli {

// What the daemon knows, asked only where it is needed; all may be empty and must not throw.
struct Names {
  std::function<std::vector<std::string>()> volumes, settings, containers;
};

// `words` are those behind `__complete`; the last is the one being typed, "" for a new one.
std::string complete(const std::vector<std::string>& words, const Names& names);

// The names that the running daemon has; none when it does not answer within a second.
Names names_of_daemon(const std::string& socket_option);

// For `davit completion SHELL`. Throws UsageError for an unknown shell.
std::string completion_script(const std::string& shell);

}  // namespace davit::cli
