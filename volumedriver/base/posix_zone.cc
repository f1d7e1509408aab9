#include "base/posix_zone.h"

#include <algorithm>

namespace davit::base {

using namespace std::chrono;

namespace {

class Reader {
 public:
  explicit Reader(std::string_view text) : text_(text) {}

  bool done() const { return text_.empty(); }
  char peek() const { return text_.empty() ? '\0' : text_.front(); }
  bool accept(char c) {
    if (peek() != c) return false;
    text_.remove_prefix(1);
    return true;
  }
  std::optional<int> number(int low, int high) {
    int value = 0;
    size_t digits = 0;
    while (digits < text_.size() && digits < 4 && text_[digits] >= '0' && text_[digits] <= '9')
      value = value * 10 + (text_[digits++] - '0');
    if (digits == 0 || value < low || value > high) return std::nullopt;
    text_.remove_prefix(digits);
    return value;
  }
  // Letters, or anything between < and >; at least 3.
  bool name() {
    const bool quoted = accept('<');
    size_t length = 0;
    const auto letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); };
    while (length < text_.size() && (quoted ? text_[length] != '>' : letter(text_[length])))
      ++length;
    text_.remove_prefix(length);
    return length >= 3 && (!quoted || accept('>'));
  }
  std::optional<seconds> time(int max_hours) {
    const bool negative = accept('-');
    if (!negative) accept('+');
    const auto h = number(0, max_hours);
    if (!h) return std::nullopt;
    seconds value = hours(*h);
    if (accept(':')) {
      const auto m = number(0, 59);
      if (!m) return std::nullopt;
      value += minutes(*m);
      if (accept(':')) {
        const auto s = number(0, 59);
        if (!s) return std::nullopt;
        value += seconds(*s);
      }
    }
    return negative ? -value : value;
  }
  std::optional<PosixZone::Day> day() {
    using Kind = PosixZone::Day::Kind;
    PosixZone::Day day;
    std::optional<int> value;
    if (accept('J')) {
      day.kind = Kind::julian_without_leap_day;
      value = number(1, 365);
    } else if (accept('M')) {
      day.kind = Kind::weekday_of_month;
      const auto m = number(1, 12);
      if (!m || !accept('.')) return std::nullopt;
      const auto w = number(1, 5);
      if (!w || !accept('.')) return std::nullopt;
      day.month = *m;
      day.week = *w;
      value = number(0, 6);
    } else {
      value = number(0, 365);
    }
    if (!value) return std::nullopt;
    day.day = *value;
    if (accept('/')) {
      const auto at = time(167);
      if (!at) return std::nullopt;
      day.time = *at;
    }
    return day;
  }

 private:
  std::string_view text_;
};

// The local time of a rule's day in a year, as seconds since 1970 of the local clock.
seconds local_in(const PosixZone::Day& rule, int y) {
  using Kind = PosixZone::Day::Kind;
  sys_days date;
  const sys_days new_year = sys_days(year(y) / January / 1);
  switch (rule.kind) {
    case Kind::julian_without_leap_day:
      date = new_year + days(rule.day - 1 + (year(y).is_leap() && rule.day >= 60 ? 1 : 0));
      break;
    case Kind::day_of_year:
      date = new_year + days(rule.day);
      break;
    case Kind::weekday_of_month: {
      const year_month in = year(y) / month(static_cast<unsigned>(rule.month));
      const weekday on(static_cast<unsigned>(rule.day));
      date = rule.week == 5 ? sys_days(in / on[last])
                            : sys_days(in / on[static_cast<unsigned>(rule.week)]);
      break;
    }
  }
  return date.time_since_epoch() + rule.time;
}

}  // namespace

std::optional<PosixZone> PosixZone::parse(std::string_view text) {
  Reader reader(text);
  PosixZone zone;
  if (!reader.name()) return std::nullopt;
  const auto standard = reader.time(24);
  if (!standard) return std::nullopt;
  zone.standard = -*standard;
  if (reader.done()) return zone;
  if (!reader.name()) return std::nullopt;
  zone.has_summer = true;
  zone.summer = zone.standard + hours(1);
  if (reader.peek() != ',' && !reader.done()) {
    const auto summer = reader.time(24);
    if (!summer) return std::nullopt;
    zone.summer = -*summer;
  }
  // A rule without dates means what it means in glibc: those of the United States.
  if (reader.done()) {
    zone.summer_begins = *Reader("M3.2.0").day();
    zone.summer_ends = *Reader("M11.1.0").day();
    return zone;
  }
  if (!reader.accept(',')) return std::nullopt;
  const auto begins = reader.day();
  if (!begins || !reader.accept(',')) return std::nullopt;
  const auto ends = reader.day();
  if (!ends || !reader.done()) return std::nullopt;
  zone.summer_begins = *begins;
  zone.summer_ends = *ends;
  return zone;
}

std::vector<PosixZone::Change> PosixZone::changes(int first, int last) const {
  std::vector<Change> all;
  if (!has_summer) return all;
  for (int y = first; y <= last; ++y) {
    all.push_back({sys_seconds(local_in(summer_begins, y) - standard), true});
    all.push_back({sys_seconds(local_in(summer_ends, y) - summer), false});
  }
  // Where summer never ends, its end and its next beginning are one instant: the beginning wins.
  std::sort(all.begin(), all.end(), [](const Change& a, const Change& b) {
    return a.at != b.at ? a.at < b.at : a.to_summer < b.to_summer;
  });
  return all;
}

}  // namespace davit::base
