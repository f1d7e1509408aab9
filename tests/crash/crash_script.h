// What the process that is killed does, step by step, and how the test that kills it talks with it.
//
//   crash_child DATA POINT SCRIPT   dies at its POINTth fault point (0: never), counted from its start
//
// It writes a line to its standard output when a step is done: the step's number, and what it made.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

namespace davit::crash {

inline constexpr int kKilled = 77;

enum class Verb { make, contain, write, backup, restore_new, restore_over, remove, vanish, forget, prune, passwd };

struct Step {
  Verb verb;
  std::string volume;
  int content = 0;                    // write: which
  std::string reference = {};         // restore_new, restore_over; "first": the first snapshot that was made
  bool final_backup = true;           // make
};

inline constexpr const char* kNewPassword = "another one";

// "all", "passwd", or "nothing" but the start.
inline std::vector<Step> script(const std::string& name) {
  if (name == "nothing") return {};
  if (name == "passwd")
    return {{Verb::make, "a"}, {Verb::write, "a", 1}, {Verb::backup, "a"}, {Verb::passwd, "a"}, {Verb::backup, "a"}};
  return {{Verb::make, "a"},
          {Verb::write, "a", 1},
          {Verb::backup, "a"},
          {Verb::make, "d"},
          {Verb::contain, "d"},
          {Verb::backup, "d"},
          {Verb::write, "a", 2},
          {Verb::backup, "a"},
          {Verb::restore_new, "b", 0, "first"},
          {Verb::restore_over, "a", 0, "first"},
          {Verb::remove, "b"},
          {Verb::vanish, "b"},
          {Verb::restore_new, "b", 0, "auto"},
          {Verb::forget, "a"},
          {Verb::prune, "a"},
          {Verb::write, "a", 3},
          {Verb::backup, "a"},
          {Verb::write, "d", 2},
          {Verb::backup, "d"},
          {Verb::make, "c", 0, "", false},
          {Verb::write, "c", 4},
          {Verb::remove, "c"}};
}

// The container that uses the volume is committed with it. It and its image are the engine's, which has this file.
inline constexpr const char* kContainer = "web";
inline constexpr const char* kImage = "base:1";
inline std::string engine_state(const std::string& data) { return data + "-engine.json"; }

// So that only the script forgets.
inline std::map<std::string, std::string> keep_all() {
  std::map<std::string, std::string> settings;
  for (const char* period : {"HOURLY", "DAILY", "WEEKLY", "MONTHLY"})
    settings[std::string("DAVIT_KEEP_") + period] = "0";
  return settings;
}

// The files of a volume's content, by name; 0: none.
inline std::vector<std::pair<std::string, std::string>> content_of(int number) {
  std::vector<std::pair<std::string, std::string>> files;
  if (number == 0) return files;
  for (int i = 0; i < 6; ++i) {
    // Some are the same in all, so that a prune has something to keep of packs that it takes apart.
    const int seed = i % 2 ? i : number * 100 + i;
    std::string text;
    unsigned state = static_cast<unsigned>(seed) * 2654435761u + 1;
    while (text.size() < 3000u + static_cast<unsigned>(i) * 700) {
      state = state * 1664525u + 1013904223u;
      text += static_cast<char>(state >> 24);
    }
    files.emplace_back((i < 3 ? "dir/file" : "file") + std::to_string(i), text);
  }
  return files;
}

}  // namespace davit::crash
