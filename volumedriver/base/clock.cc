#include "base/clock.h"

#include <cstdio>

#include "base/errors.h"

namespace davit::base {

using namespace std::chrono;

std::string format_utc(Time time) {
  const auto seconds = floor<std::chrono::seconds>(time);
  const auto day = floor<days>(seconds);
  const year_month_day date(day);
  const hh_mm_ss clock(seconds - day);
  char text[64];
  std::snprintf(text, sizeof text, "%04d-%02u-%02uT%02d:%02d:%02d", int(date.year()),
                unsigned(date.month()), unsigned(date.day()), int(clock.hours().count()),
                int(clock.minutes().count()), int(clock.seconds().count()));
  std::string result = text;
  if (const auto fraction = (time - seconds).count(); fraction != 0) {
    std::snprintf(text, sizeof text, ".%09lld", static_cast<long long>(fraction));
    result += text;
    while (result.back() == '0') result.pop_back();
  }
  return result + "Z";
}

namespace {

class Reader {
 public:
  explicit Reader(std::string_view text) : text_(text) {}

  [[noreturn]] void refuse() const {
    throw UsageError("'" + std::string(text_) + "' is no RFC 3339 time such as 2026-11-21T18:00:00Z");
  }
  int number(size_t digits) {
    int value = 0;
    for (size_t i = 0; i < digits; ++i) {
      const char c = next();
      if (c < '0' || c > '9') refuse();
      value = value * 10 + (c - '0');
    }
    return value;
  }
  char next() {
    if (at_ >= text_.size()) refuse();
    return text_[at_++];
  }
  void expect(const char* any_of) {
    if (std::string_view(any_of).find(next()) == std::string_view::npos) refuse();
  }
  char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }
  bool done() const { return at_ == text_.size(); }

 private:
  std::string_view text_;
  size_t at_ = 0;
};

}  // namespace

Time parse_rfc3339(std::string_view text) {
  Reader reader(text);
  const int y = reader.number(4);
  reader.expect("-");
  const int m = reader.number(2);
  reader.expect("-");
  const int d = reader.number(2);
  reader.expect("Tt ");
  const int h = reader.number(2);
  reader.expect(":");
  const int min = reader.number(2);
  reader.expect(":");
  const int s = reader.number(2);
  int64_t fraction = 0;
  if (reader.peek() == '.') {
    reader.next();
    int64_t unit = 100'000'000;
    if (reader.peek() < '0' || reader.peek() > '9') reader.refuse();
    while (reader.peek() >= '0' && reader.peek() <= '9') {
      fraction += (reader.next() - '0') * unit;
      unit /= 10;
    }
  }
  minutes offset{0};
  const char sign = reader.next();
  if (sign == '+' || sign == '-') {
    const int oh = reader.number(2);
    reader.expect(":");
    const int om = reader.number(2);
    if (oh > 23 || om > 59) reader.refuse();
    offset = minutes(oh * 60 + om) * (sign == '-' ? -1 : 1);
  } else if (sign != 'Z' && sign != 'z') {
    reader.refuse();
  }
  const year_month_day date{year(y), month(static_cast<unsigned>(m)), day(static_cast<unsigned>(d))};
  // What 64 bits of nanoseconds can hold.
  if (y < 1678 || y > 2261) reader.refuse();
  if (!reader.done() || !date.ok() || h > 23 || min > 59 || s > 60) reader.refuse();
  return sys_days(date) + hours(h) + minutes(min) + seconds(s) + nanoseconds(fraction) - offset;
}

}  // namespace davit::base
