// The words of a retention policy: options to Policy, and back.
#include <algorithm>
#include <charconv>

#include "base/errors.h"
#include "upkeep/retention.h"

namespace davit::upkeep {

namespace {

using base::UsageError;

struct CountKey {
  const char* key;
  int Policy::*member;
};
constexpr CountKey kCounts[] = {
    {"keep-last", &Policy::last},       {"keep-hourly", &Policy::hourly},
    {"keep-daily", &Policy::daily},     {"keep-weekly", &Policy::weekly},
    {"keep-monthly", &Policy::monthly}, {"keep-yearly", &Policy::yearly}};
struct WithinKey {
  const char* key;
  std::optional<CalendarDuration> Policy::*member;
};
constexpr WithinKey kWithins[] = {
    {"keep-within", &Policy::within},
    {"keep-within-hourly", &Policy::within_hourly},
    {"keep-within-daily", &Policy::within_daily},
    {"keep-within-weekly", &Policy::within_weekly},
    {"keep-within-monthly", &Policy::within_monthly},
    {"keep-within-yearly", &Policy::within_yearly},
};
constexpr const char* kTag = "keep-tag";

int parse_count(const std::string& key, const std::string& value) {
  if (value == "unlimited") return Policy::kAll;
  int count = 0;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), count);
  if (error != std::errc() || end != value.data() + value.size() || count < Policy::kAll)
    throw UsageError(key + " '" + value +
                     "' is not allowed: give a number of snapshots, or -1 or unlimited for all");
  return count;
}

std::vector<std::string> parse_tags(const std::string& value) {
  std::vector<std::string> lists;
  size_t at = 0;
  while ((at = value.find_first_not_of(" \t\n", at)) != value.npos) {
    const size_t end = std::min(value.find_first_of(" \t\n", at), value.size());
    const std::string list = value.substr(at, end - at);
    if (list.front() == ',' || list.back() == ',' || list.find(",,") != list.npos)
      throw UsageError(std::string(kTag) + " '" + value + "' has an empty tag");
    lists.push_back(list);
    at = end;
  }
  return lists;
}

}  // namespace

CalendarDuration CalendarDuration::parse(std::string_view text, std::string_view what) {
  const auto refuse = [&] {
    throw UsageError(std::string(what) + " '" + std::string(text) +
                     "' is no duration such as 1y5m7d2h (years, months, days, hours)");
  };
  CalendarDuration duration;
  std::string seen;
  const char* at = text.data();
  const char* const end = at + text.size();
  while (at != end) {
    int value = 0;
    // from_chars would take a minus.
    const auto [after, error] = *at >= '0' && *at <= '9'
                                    ? std::from_chars(at, end, value)
                                    : std::from_chars_result{at, std::errc::invalid_argument};
    if (error != std::errc() || after == end || value > 100'000 || seen.find(*after) != seen.npos)
      refuse();
    switch (*after) {
      case 'y':
        duration.years = value;
        break;
      case 'm':
        duration.months = value;
        break;
      case 'd':
        duration.days = value;
        break;
      case 'h':
        duration.hours = value;
        break;
      default:
        refuse();
    }
    seen += *after;
    at = after + 1;
  }
  if (duration == CalendarDuration{}) refuse();
  return duration;
}

std::string CalendarDuration::to_string() const {
  std::string text;
  const auto add = [&](int value, char unit) {
    if (value != 0) text += std::to_string(value) + unit;
  };
  add(years, 'y');
  add(months, 'm');
  add(days, 'd');
  add(hours, 'h');
  return text;
}

const std::vector<std::string>& Policy::known_keys() {
  static const auto keys = [] {
    std::vector<std::string> all;
    for (const auto& [key, member] : kCounts) all.push_back(key);
    for (const auto& [key, member] : kWithins) all.push_back(key);
    all.push_back(kTag);
    return all;
  }();
  return keys;
}

Policy Policy::parse(const std::map<std::string, std::string>& options) {
  Policy policy;
  for (const auto& [key, value] : options) {
    if (key.rfind("keep-", 0) != 0) continue;
    if (std::find(known_keys().begin(), known_keys().end(), key) == known_keys().end()) {
      std::string known;
      for (const std::string& name : known_keys()) known += (known.empty() ? "" : ", ") + name;
      throw UsageError("'" + key + "' is no rule of retention; known are " + known);
    }
    if (value.empty()) continue;
    for (const auto& [name, member] : kCounts)
      if (key == name) policy.*member = parse_count(key, value);
    for (const auto& [name, member] : kWithins)
      if (key == name) policy.*member = CalendarDuration::parse(value, key);
    if (key == kTag) policy.tags = parse_tags(value);
  }
  return policy;
}

bool Policy::empty() const {
  return *this == Policy{};
}

std::string Policy::to_string() const {
  if (empty()) return "keep everything";
  std::string text;
  const auto add = [&](const std::string& key, const std::string& value) {
    text += (text.empty() ? "" : " ") + key + "=" + value;
  };
  for (const auto& [key, member] : kCounts)
    if (const int count = this->*member; count != 0)
      add(key, count == kAll ? "unlimited" : std::to_string(count));
  for (const auto& [key, member] : kWithins)
    if (const auto& within = this->*member) add(key, within->to_string());
  for (const std::string& list : tags) add(kTag, list);
  return text;
}

}  // namespace davit::upkeep
