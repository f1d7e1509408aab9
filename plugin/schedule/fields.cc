#include "schedule/fields.h"

#include <array>
#include <span>
#include <vector>

#include "base/errors.h"

namespace davit::schedule {

namespace {

using base::UsageError;

constexpr std::array<std::string_view, 12> kMonths{"january",   "february", "march",    "april",
                                                   "may",       "june",     "july",     "august",
                                                   "september", "october",  "november", "december"};
constexpr std::array<std::string_view, 7> kWeekdays{"sunday",   "monday", "tuesday", "wednesday",
                                                    "thursday", "friday", "saturday"};

struct Kind {
  std::string_view name;
  int low, high;
  std::span<const std::string_view> names;  // of low, low + 1, …
  std::string_view allowed;
  bool day;  // may be `?`
};
const Kind kSecond{"second", 0, 59, {}, "0-59", false};
const Kind kMinute{"minute", 0, 59, {}, "0-59", false};
const Kind kHour{"hour", 0, 23, {}, "0-23", false};
const Kind kDay{"day-of-month", 1, 31, {}, "1-31, ?", true};
const Kind kMonth{"month", 1, 12, kMonths, "1-12, JAN-DEC", false};
const Kind kWeekday{"day-of-week", 0, 7, kWeekdays, "0-7, SUN-SAT, ?", true};

struct Field {
  uint64_t bits = 0;
  bool restricted = false;
};

class FieldParser {
 public:
  FieldParser(const Kind& kind, std::string_view text, const std::string& context)
      : kind_(kind), text_(text), context_(context) {}

  Field parse() const {
    Field field;
    field.restricted = true;
    std::string_view rest = text_;
    for (;;) {
      const size_t comma = rest.find(',');
      add(rest.substr(0, comma), field);
      if (comma == rest.npos) break;
      rest.remove_prefix(comma + 1);
    }
    if (&kind_ == &kWeekday && field.bits >> 7 & 1)
      field.bits = (field.bits | 1) & 0x7f;  // Sunday is 0 and 7
    return field;
  }

 private:
  [[noreturn]] void refuse(std::string_view part, const std::string& why = {}) const {
    const std::string all = part == text_ ? "" : " in '" + std::string(text_) + "'";
    throw UsageError(context_ + std::string(kind_.name) + " '" + std::string(part) + "'" + all +
                     " is not allowed" + (why.empty() ? "" : ": " + why) + "; allowed are " +
                     std::string(kind_.allowed) + ", *, ranges a-b, steps /n, lists with commas");
  }
  int number(std::string_view word, std::string_view part) const {
    int value = 0;
    if (word.empty()) refuse(part);
    if (!is_digit(word[0])) {
      const std::string name = lower(word);
      for (size_t i = 0; i < kind_.names.size(); ++i)
        if (name == kind_.names[i] || name == kind_.names[i].substr(0, 3))
          return kind_.low + static_cast<int>(i);
      refuse(part);
    }
    for (const char c : word) {
      if (!is_digit(c) || value > 999) refuse(part);
      value = value * 10 + (c - '0');
    }
    return value;
  }
  void add(std::string_view part, Field& field) const {
    const size_t slash = part.find('/');
    const std::string_view range = part.substr(0, slash);
    int low = kind_.low, high = &kind_ == &kWeekday ? 6 : kind_.high, step = 1;
    bool all = false;
    if (slash != part.npos) {
      const std::string_view digits = part.substr(slash + 1);
      if (digits.empty() || !is_digit(digits[0])) refuse(part, "a step is a number");
      step = number(digits, part);
      if (step < 1 || step > high - low + 1)
        refuse(part, "a step is from 1 to " + std::to_string(high - low + 1));
    }
    if (range == "*" || (range == "?" && kind_.day)) {
      all = true;
    } else {
      const size_t dash = range.find('-');
      low = number(range.substr(0, dash), part);
      if (dash != range.npos) {
        high = number(range.substr(dash + 1), part);
        if (&kind_ == &kWeekday && high == 0 && low > 0) high = 7;  // FRI-SUN
      } else if (slash == part.npos) {
        high = low;
      } else if (low > high) {
        high = low;  // 7/2: Sunday alone
      }
      if (low < kind_.low || low > kind_.high || high < kind_.low || high > kind_.high)
        refuse(part);
      if (low > high) refuse(part, "a range goes upward");
    }
    if (all && step == 1) field.restricted = false;
    for (int value = low; value <= high; value += step) field.bits |= uint64_t{1} << value;
  }

  const Kind& kind_;
  std::string_view text_;
  const std::string& context_;
};

}  // namespace

Schedule::Fields parse_fields(std::string_view text, const std::string& context) {
  std::vector<std::string_view> words;
  for (text = trim(text); !text.empty(); text = trim(text)) {
    size_t end = 0;
    while (end < text.size() && !is_space(text[end])) ++end;
    words.push_back(text.substr(0, end));
    text.remove_prefix(end);
  }
  if (words.size() != 5 && words.size() != 6)
    throw UsageError(context + "it has " + std::to_string(words.size()) +
                     (words.size() == 1 ? " field" : " fields") +
                     ", not 5 (minute hour day-of-month month day-of-week) or 6 (second first); "
                     "@daily, @every 6h and off are possible too");
  Schedule::Fields fields;
  size_t at = 0;
  const auto read = [&](const Kind& kind) {
    return FieldParser(kind, words[at++], context).parse();
  };
  if (words.size() == 6) fields.seconds = read(kSecond).bits;
  fields.minutes = read(kMinute).bits;
  fields.hours = static_cast<uint32_t>(read(kHour).bits);
  const Field days = read(kDay);
  fields.days = static_cast<uint32_t>(days.bits);
  fields.days_restricted = days.restricted;
  fields.months = static_cast<uint32_t>(read(kMonth).bits);
  const Field weekdays = read(kWeekday);
  fields.weekdays = static_cast<uint32_t>(weekdays.bits);
  fields.weekdays_restricted = weekdays.restricted;
  return fields;
}

std::string_view trim(std::string_view text) {
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
  return text;
}

std::string lower(std::string_view text) {
  std::string result(text);
  for (char& c : result)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return result;
}

}  // namespace davit::schedule
