#include "repo/rfc3339.h"

#include <algorithm>
#include <chrono>
#include <cstring>

namespace davit::repo {
namespace {

constexpr int64_t kDay = 86400;

struct Date {
  int64_t year;
  unsigned month, day;
};

// Days since 1970-01-01 in the proleptic Gregorian calendar, for years far beyond std::chrono's.
// Counts in eras of 400 years that begin on 1 March, so that the leap day is the last of a year.
constexpr Date date_of(int64_t days) {
  days += 719468;  // from 0000-03-01
  const int64_t era = (days >= 0 ? days : days - 146096) / 146097;
  const unsigned of_era = static_cast<unsigned>(days - era * 146097);
  const unsigned year_of_era = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
  const unsigned of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
  const unsigned shifted_month = (5 * of_year + 2) / 153;
  const unsigned month = shifted_month < 10 ? shifted_month + 3 : shifted_month - 9;
  const int64_t year = static_cast<int64_t>(year_of_era) + era * 400 + (month <= 2 ? 1 : 0);
  return {year, month, of_year - (153 * shifted_month + 2) / 5 + 1};
}

constexpr int64_t days_of(const Date& date) {
  const int64_t year = date.year - (date.month <= 2 ? 1 : 0);
  const int64_t era = (year >= 0 ? year : year - 399) / 400;
  const unsigned year_of_era = static_cast<unsigned>(year - era * 400);
  const unsigned of_year =
      (153 * (date.month > 2 ? date.month - 3 : date.month + 9) + 2) / 5 + date.day - 1;
  const unsigned of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + of_year;
  return era * 146097 + static_cast<int64_t>(of_era) - 719468;
}

static_assert(days_of({1970, 1, 1}) == 0 && days_of({0, 1, 1}) == -719528);
static_assert(date_of(-1).year == 1969 && date_of(-1).month == 12 && date_of(-1).day == 31);

bool is_leap(int64_t year) {
  return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

unsigned days_in_month(int64_t year, unsigned month) {
  constexpr unsigned kDays[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  return month == 2 && is_leap(year) ? 29 : kDays[month - 1];
}

Date clamp_year(Date date) {
  if (date.year >= 0 && date.year <= 9999) return date;
  date.year = date.year < 0 ? 0 : 9999;
  if (date.day > days_in_month(date.year, date.month)) {  // 29 February of a year that has none
    date.month = 3;
    date.day = 1;
  }
  return date;
}

char* put_digits(char* out, uint64_t value, int digits) {
  for (int i = digits - 1; i >= 0; --i) {
    out[i] = static_cast<char>('0' + value % 10);
    value /= 10;
  }
  return out + digits;
}

// Takes fields from the front of a text; false once something was not there.
class Scanner {
 public:
  explicit Scanner(std::string_view text) : rest_(text) {}

  bool digits(int count, int& value) {
    if (rest_.size() < static_cast<size_t>(count)) return false;
    value = 0;
    for (int i = 0; i < count; ++i) {
      if (rest_[i] < '0' || rest_[i] > '9') return false;
      value = value * 10 + (rest_[i] - '0');
    }
    rest_.remove_prefix(count);
    return true;
  }
  bool literal(char wanted) {
    if (rest_.empty() || rest_[0] != wanted) return false;
    rest_.remove_prefix(1);
    return true;
  }
  bool done() const { return rest_.empty(); }

 private:
  std::string_view rest_;
};

}  // namespace

size_t format_time(const CivilTime& time, char* out) {
  // Far beyond every clampable year, but far from overflow: 64-bit time stamps come from file
  // systems unchecked.
  constexpr int64_t kFarAway = int64_t{1} << 60;
  const int64_t local =
      std::clamp(time.seconds, -kFarAway, kFarAway) + int64_t{time.offset_minutes} * 60;
  const int64_t days = local >= 0 ? local / kDay : -((-local + kDay - 1) / kDay);
  const unsigned of_day = static_cast<unsigned>(local - days * kDay);
  const Date date = clamp_year(date_of(days));
  char* at = put_digits(out, static_cast<uint64_t>(date.year), 4);
  *at++ = '-';
  at = put_digits(at, date.month, 2);
  *at++ = '-';
  at = put_digits(at, date.day, 2);
  *at++ = 'T';
  at = put_digits(at, of_day / 3600, 2);
  *at++ = ':';
  at = put_digits(at, of_day / 60 % 60, 2);
  *at++ = ':';
  at = put_digits(at, of_day % 60, 2);
  if (time.nanoseconds != 0) {
    *at++ = '.';
    at = put_digits(at, time.nanoseconds, 9);
    while (at[-1] == '0') --at;
  }
  if (time.offset_minutes == 0) {
    *at++ = 'Z';
  } else {
    const unsigned offset = static_cast<unsigned>(std::abs(time.offset_minutes));
    *at++ = time.offset_minutes < 0 ? '-' : '+';
    at = put_digits(at, offset / 60, 2);
    *at++ = ':';
    at = put_digits(at, offset % 60, 2);
  }
  return static_cast<size_t>(at - out);
}

std::optional<CivilTime> parse_time(std::string_view text) {
  Scanner scan(text);
  int year, month, day, hour, minute, second;
  if (!scan.digits(4, year) || !scan.literal('-') || !scan.digits(2, month) || !scan.literal('-') ||
      !scan.digits(2, day) || !scan.literal('T') || !scan.digits(2, hour) || !scan.literal(':') ||
      !scan.digits(2, minute) || !scan.literal(':') || !scan.digits(2, second)) {
    return std::nullopt;
  }
  if (month < 1 || month > 12 || day < 1 || hour > 23 || minute > 59 || second > 59 ||
      static_cast<unsigned>(day) > days_in_month(year, static_cast<unsigned>(month))) {
    return std::nullopt;
  }
  CivilTime time;
  if (scan.literal('.')) {
    int digit = 0;
    if (!scan.digits(1, digit)) return std::nullopt;
    uint32_t scale = 100'000'000;
    do {
      time.nanoseconds += static_cast<uint32_t>(digit) * scale;
      scale /= 10;
    } while (scan.digits(1, digit));
  }
  if (!scan.literal('Z')) {
    const bool east = scan.literal('+');
    if (!east && !scan.literal('-')) return std::nullopt;
    int hours, minutes;
    if (!scan.digits(2, hours) || !scan.literal(':') || !scan.digits(2, minutes))
      return std::nullopt;
    if (hours > 23 || minutes > 59) return std::nullopt;
    time.offset_minutes = (hours * 60 + minutes) * (east ? 1 : -1);
  }
  if (!scan.done()) return std::nullopt;
  const int64_t days = days_of({year, static_cast<unsigned>(month), static_cast<unsigned>(day)});
  time.seconds =
      days * kDay + hour * 3600 + minute * 60 + second - int64_t{time.offset_minutes} * 60;
  return time;
}

}  // namespace davit::repo
