#include "archive/exclude.h"

#include <algorithm>
#include <span>

#include "base/errors.h"

namespace davit::archive {

namespace {

std::vector<std::string> split(std::string_view path) {
  std::vector<std::string> components;
  while (!path.empty()) {
    const size_t slash = path.find('/');
    const std::string_view component = path.substr(0, slash);
    if (!component.empty() && component != ".") components.emplace_back(component);
    path = slash == std::string_view::npos ? "" : path.substr(slash + 1);
  }
  return components;
}

std::string_view trim(std::string_view text) {
  constexpr std::string_view kSpace = " \t\r\v\f";
  const size_t first = text.find_first_not_of(kSpace);
  if (first == std::string_view::npos) return "";
  return text.substr(first, text.find_last_not_of(kSpace) - first + 1);
}

// Takes one character off the front: a code point where the bytes are UTF-8, else a byte.
uint32_t take_character(std::string_view& text) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  const uint8_t lead = byte(0);
  const size_t length = lead < 0xc2 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : lead < 0xf5 ? 4 : 1;
  uint32_t value = lead;
  if (length > 1 && text.size() >= length) {
    uint32_t point = lead & (0x7f >> length);
    bool good = true;
    for (size_t i = 1; i < length; ++i) {
      good &= (byte(i) & 0xc0) == 0x80;
      point = point << 6 | (byte(i) & 0x3f);
    }
    if (good) {
      text.remove_prefix(length);
      return point;
    }
  }
  text.remove_prefix(1);
  return length > 1 || lead >= 0x80 ? 0x110000 + value : value;  // a lone byte is no code point
}

// One character of a class or after a backslash. False at a bad pattern.
bool take_literal(std::string_view& pattern, uint32_t& character) {
  if (pattern.empty() || pattern[0] == '-' || pattern[0] == ']') return false;
  if (pattern[0] == '\\') {
    pattern.remove_prefix(1);
    if (pattern.empty()) return false;
  }
  character = take_character(pattern);
  return true;
}

enum class Class { matches, differs, bad };

// `pattern` begins behind the '['; it is moved behind the ']'.
Class match_class(std::string_view& pattern, uint32_t character) {
  bool negated = false, found = false;
  if (!pattern.empty() && pattern[0] == '^') {
    negated = true;
    pattern.remove_prefix(1);
  }
  for (bool first = true;; first = false) {
    if (!pattern.empty() && pattern[0] == ']' && !first) {
      pattern.remove_prefix(1);
      return found != negated ? Class::matches : Class::differs;
    }
    uint32_t low, high;
    if (!take_literal(pattern, low)) return Class::bad;
    high = low;
    if (!pattern.empty() && pattern[0] == '-') {
      pattern.remove_prefix(1);
      if (!take_literal(pattern, high)) return Class::bad;
    }
    found |= low <= character && character <= high;
  }
}

// One component against one name. A bad pattern matches nothing; parse() has refused those.
bool match_name(std::string_view pattern, std::string_view name) {
  // Where to go on when what follows the last '*' does not fit.
  std::string_view star_pattern, star_name;
  bool starred = false;
  for (;;) {
    std::string_view pattern_rest = pattern, name_rest = name;
    bool fits = false;
    if (pattern.empty()) {
      if (name.empty()) return true;
    } else if (pattern[0] == '*') {
      pattern.remove_prefix(1);
      star_pattern = pattern;
      star_name = name;
      starred = true;
      continue;
    } else if (!name.empty()) {
      const uint32_t character = take_character(name_rest);
      if (pattern[0] == '?') {
        pattern_rest.remove_prefix(1);
        fits = true;
      } else if (pattern[0] == '[') {
        pattern_rest.remove_prefix(1);
        fits = match_class(pattern_rest, character) == Class::matches;
      } else {
        if (pattern[0] == '\\') pattern_rest.remove_prefix(1);
        fits = !pattern_rest.empty() && take_character(pattern_rest) == character;
      }
    }
    if (fits) {
      pattern = pattern_rest;
      name = name_rest;
      continue;
    }
    if (!starred || star_name.empty()) return false;
    take_character(star_name);
    pattern = star_pattern;
    name = star_name;
  }
}

bool is_good_component(std::string_view pattern) {
  while (!pattern.empty()) {
    const char c = pattern[0];
    pattern.remove_prefix(1);
    if (c == '\\') {
      if (pattern.empty()) return false;
      pattern.remove_prefix(1);
    } else if (c == '[' && match_class(pattern, 'x') == Class::bad) {
      return false;
    }
  }
  return true;
}

using Components = std::span<const std::string>;
using Names = std::span<const std::string_view>;

// Whether the pattern matches names from their front on, leaving any number of names behind: what
// is beneath a directory that matches, matches too.
bool match_front(Components pattern, Names names) {
  if (pattern.empty()) return true;
  if (pattern[0] == "**") {
    for (size_t skipped = 0; skipped <= names.size(); ++skipped)
      if (match_front(pattern.subspan(1), names.subspan(skipped))) return true;
    return false;
  }
  return !names.empty() && match_name(pattern[0], names[0]) &&
         match_front(pattern.subspan(1), names.subspan(1));
}

}  // namespace

Excludes Excludes::parse(std::string_view lines) {
  Excludes excludes;
  size_t number = 0;
  while (!lines.empty()) {
    const size_t end = lines.find('\n');
    const std::string_view line = trim(lines.substr(0, end));
    lines = end == std::string_view::npos ? "" : lines.substr(end + 1);
    ++number;
    if (line.empty() || line[0] == '#') continue;
    Pattern pattern;
    pattern.text = line;
    std::string_view text = line;
    if (text[0] == '!') {
      pattern.negated = true;
      text.remove_prefix(1);
    }
    pattern.anchored = !text.empty() && text[0] == '/';
    pattern.components = split(text);
    const bool good =
        !pattern.components.empty() &&
        std::all_of(pattern.components.begin(), pattern.components.end(), is_good_component) &&
        std::find(pattern.components.begin(), pattern.components.end(), "..") ==
            pattern.components.end();
    if (!good)
      throw base::UsageError("exclude: line " + std::to_string(number) +
                             " is no valid pattern: " + std::string(line));
    excludes.patterns_.push_back(std::move(pattern));
  }
  return excludes;
}

bool Excludes::matches(std::string_view path) const {
  std::vector<std::string_view> names;
  for (std::string_view rest = path; !rest.empty();) {
    const size_t slash = rest.find('/');
    names.push_back(rest.substr(0, slash));
    rest = slash == std::string_view::npos ? "" : rest.substr(slash + 1);
  }
  bool excluded = false;
  for (const Pattern& pattern : patterns_) {
    // In order: a later "!x" takes back what an earlier line left out.
    if (excluded != pattern.negated) continue;
    bool fits = false;
    const size_t starts = pattern.anchored ? 1 : names.size();
    for (size_t start = 0; start < starts && !fits; ++start)
      fits = match_front(pattern.components, Names(names).subspan(start));
    if (fits) excluded = !pattern.negated;
  }
  return excluded;
}

std::vector<std::string> Excludes::lines() const {
  std::vector<std::string> lines;
  for (const Pattern& pattern : patterns_) lines.push_back(pattern.text);
  return lines;
}

}  // namespace davit::archive
