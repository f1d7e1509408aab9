#include "schedule/cron.h"

#include <algorithm>
#include <array>
#include <bit>
#include <vector>

#include "base/errors.h"
#include "schedule/fields.h"

namespace davit::schedule {

using namespace std::chrono;
using base::UsageError;

namespace {

// FNV-1a, then a mixer; the values are part of what a restart must not change.
uint64_t hash(std::string_view text, uint64_t salt) {
  uint64_t value = 14695981039346656037ULL;
  for (const char c : text) value = (value ^ static_cast<uint8_t>(c)) * 1099511628211ULL;
  value += salt * 0x9e3779b97f4a7c15ULL;
  value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9ULL;
  value = (value ^ (value >> 27)) * 0x94d049bb133111ebULL;
  return value ^ (value >> 31);
}

constexpr uint32_t kAllHours = (1u << 24) - 1;
constexpr uint32_t kAllDays = 0xfffffffe;
constexpr uint32_t kAllMonths = 0x1ffe;
constexpr uint32_t kAllWeekdays = 0x7f;

struct Macro {
  std::string_view name;
  bool hour, weekday, day, month;  // which of them it fixes, besides the minute
};
constexpr std::array<Macro, 7> kMacros{{{"hourly", false, false, false, false},
                                        {"daily", true, false, false, false},
                                        {"midnight", true, false, false, false},
                                        {"weekly", true, true, false, false},
                                        {"monthly", true, false, true, false},
                                        {"yearly", true, false, true, true},
                                        {"annually", true, false, true, true}}};

std::optional<Schedule::Fields> find_macro(std::string_view name, std::string_view seed) {
  constexpr std::string_view kRandom = "-random";
  const bool random =
      name.size() > kRandom.size() && name.substr(name.size() - kRandom.size()) == kRandom;
  if (random) name.remove_suffix(kRandom.size());
  const auto macro =
      std::find_if(kMacros.begin(), kMacros.end(), [&](const Macro& m) { return m.name == name; });
  if (macro == kMacros.end() || (random && name == "midnight")) return std::nullopt;
  uint64_t salt = 0;
  // Its first allowed value, or one that the seed picks.
  const auto pick = [&](unsigned first, unsigned count) {
    ++salt;
    return first + (random ? static_cast<unsigned>(hash(seed, salt) % count) : 0);
  };
  Schedule::Fields fields;
  fields.seconds = uint64_t{1} << pick(0, 60);
  fields.minutes = uint64_t{1} << pick(0, 60);
  fields.hours = macro->hour ? 1u << pick(0, 24) : kAllHours;
  fields.weekdays = macro->weekday ? 1u << pick(0, 7) : kAllWeekdays;
  fields.weekdays_restricted = macro->weekday;
  fields.days = macro->day ? 1u << pick(1, 28) : kAllDays;
  fields.days_restricted = macro->day;
  fields.months = macro->month ? 1u << pick(1, 12) : kAllMonths;
  return fields;
}

// The lowest bit at or above `from`; 64 where there is none.
unsigned next_bit(uint64_t bits, unsigned from) {
  return from >= 64 ? 64 : static_cast<unsigned>(std::countr_zero(bits >> from << from));
}

}  // namespace

bool Schedule::Fields::fits(year_month_day date) const {
  if (!(months >> unsigned(date.month()) & 1)) return false;
  const bool day = days >> unsigned(date.day()) & 1;
  const bool weekday = weekdays >> std::chrono::weekday(sys_days(date)).c_encoding() & 1;
  return days_restricted && weekdays_restricted ? day || weekday : day && weekday;
}

std::optional<local_seconds> Schedule::Fields::first_from(local_seconds from) const {
  auto date = floor<std::chrono::days>(from);
  const hh_mm_ss clock(from - date);
  auto h = static_cast<unsigned>(clock.hours().count());
  auto m = static_cast<unsigned>(clock.minutes().count());
  auto s = static_cast<unsigned>(clock.seconds().count());
  const auto last = date + std::chrono::days(9 * 366);
  for (; date <= last; date += std::chrono::days(1), h = m = s = 0) {
    if (!fits(year_month_day(date))) continue;
    // Second, minute and hour carry into one another like the digits of a number.
    for (unsigned hour = next_bit(hours, h); hour < 24; hour = next_bit(hours, hour + 1)) {
      const unsigned m0 = hour == h ? m : 0;
      for (unsigned minute = next_bit(minutes, m0); minute < 60;
           minute = next_bit(minutes, minute + 1)) {
        const unsigned s0 = hour == h && minute == m ? s : 0;
        if (const unsigned second = next_bit(seconds, s0); second < 60)
          return date + std::chrono::hours(hour) + std::chrono::minutes(minute) +
                 std::chrono::seconds(second);
      }
    }
  }
  return std::nullopt;
}

Schedule Schedule::parse(std::string_view text, const base::Zone& default_zone,
                         std::string_view seed) {
  Schedule schedule;
  schedule.zone_ = default_zone;
  text = trim(text);
  schedule.text_ = text;
  const std::string quoted = "schedule '" + schedule.text_ + "': ";
  for (const std::string_view prefix : {"CRON_TZ=", "TZ="}) {
    if (text.substr(0, prefix.size()) != prefix) continue;
    const size_t end = text.find_first_of(" \t");
    const std::string_view name =
        text.substr(prefix.size(), end == text.npos ? end : end - prefix.size());
    try {
      schedule.zone_ = base::Zone::find(name);
    } catch (const UsageError& unknown) {
      throw UsageError(quoted + unknown.what());
    }
    text = end == text.npos ? std::string_view() : trim(text.substr(end));
    if (text.empty())
      throw UsageError(quoted + "after the zone there must be a schedule, such as 0 4 * * *");
    break;
  }
  const std::string word = lower(text);
  if (word.empty() || word == "off" || word == "none" || word == "never") return schedule;
  if (word[0] == '@') {
    constexpr std::string_view kEvery = "@every";
    if (word.substr(0, kEvery.size()) == kEvery &&
        (word.size() == kEvery.size() || is_space(word[kEvery.size()]))) {
      schedule.kind_ = Kind::every;
      schedule.every_ =
          parse_duration(trim(std::string_view(word).substr(kEvery.size())), quoted + "@every");
      return schedule;
    }
    const auto fields = find_macro(std::string_view(word).substr(1), seed);
    if (!fields)
      throw UsageError(
          quoted + "'" + std::string(text) +
          "' is none of @hourly, @daily, @midnight, @weekly, @monthly, @yearly, @annually, "
          "@hourly-random, @daily-random, @weekly-random, @monthly-random, @yearly-random, "
          "@every DURATION");
    schedule.fields_ = *fields;
  } else {
    schedule.fields_ = parse_fields(text, quoted);
  }
  schedule.kind_ = Kind::fields;
  if (!schedule.fields_.first_from(local_days(year(2096) / March / 1)))
    throw UsageError(quoted +
                     "no day is ever like this (day-of-month and month do not go together)");
  return schedule;
}

std::optional<Time> Schedule::next(Time after, std::optional<Time> anchor) const {
  // Beyond this lies the end of what a Time can hold.
  constexpr Time kEnd = sys_days(year(2250) / January / 1);
  if (kind_ == Kind::never || after >= kEnd) return std::nullopt;
  if (kind_ == Kind::fields) return next_by_fields(after);
  if (!anchor) return after + every_;
  const nanoseconds every = every_;
  // Also right where the anchor lies ahead, since a clock may have been set back.
  nanoseconds phase = (after - *anchor) % every;
  if (phase < nanoseconds(0)) phase += every;
  return after - phase + every;
}

std::optional<Time> Schedule::next_by_fields(Time after) const {
  if (!fields_.every_hour()) {
    // from_local() never goes backward, and what `after` shows leads to no later instant than
    // itself: so the first local time that leads beyond `after` is found by going forward from
    // there.
    auto from = floor<std::chrono::seconds>(zone_.to_local(after)) + std::chrono::seconds(1);
    while (const auto local = fields_.first_from(from)) {
      const Time time = zone_.from_local(*local).first;
      if (time > after) return time;
      from = *local + std::chrono::seconds(1);
    }
    return std::nullopt;
  }
  // Along the time that really passes: each span of one offset by itself.
  Time from = floor<std::chrono::seconds>(after) + std::chrono::seconds(1);
  for (;;) {
    const auto span = zone_.span_at(from);
    const auto local = fields_.first_from(floor<std::chrono::seconds>(zone_.to_local(from)));
    if (!local) return std::nullopt;
    const Time time{local->time_since_epoch() - span.offset};
    if (time < span.end) return time;
    from = span.end;
  }
}

bool Schedule::operator==(const Schedule& other) const {
  return kind_ == other.kind_ && text_ == other.text_ && zone_.name() == other.zone_.name() &&
         every_ == other.every_ && fields_ == other.fields_;
}

seconds parse_duration(std::string_view text, std::string_view what) {
  const std::string refusal =
      std::string(what) + ": '" + std::string(text) + "' is no duration such as 1h30m, 15m or 90s";
  // Nanoseconds, so that 1.5h is exact.
  constexpr int64_t kLimit = int64_t{10'000} * 86400 * 1'000'000'000;
  std::string_view rest = text;
  int64_t total = 0;
  if (rest.empty()) throw UsageError(refusal);
  while (!rest.empty()) {
    int64_t whole = 0, fraction = 0, scale = 1;
    size_t at = 0, digits = 0;
    for (; at < rest.size() && is_digit(rest[at]); ++at, ++digits) {
      whole = whole * 10 + (rest[at] - '0');
      if (whole > kLimit / 1'000'000'000) throw UsageError(refusal + ", or it is too long");
    }
    if (at < rest.size() && rest[at] == '.') {
      for (++at; at < rest.size() && is_digit(rest[at]); ++at, ++digits)
        if (scale < 1'000'000) {
          fraction = fraction * 10 + (rest[at] - '0');
          scale *= 10;
        }
    }
    if (digits == 0 || at == rest.size()) throw UsageError(refusal);
    int64_t unit;
    switch (rest[at]) {
      case 'h':
        unit = 3'600'000'000'000;
        break;
      case 'm':
        unit = 60'000'000'000;
        break;
      case 's':
        unit = 1'000'000'000;
        break;
      default:
        throw UsageError(refusal);
    }
    if (whole > kLimit / unit) throw UsageError(refusal + ", or it is too long");
    total += whole * unit + fraction * (unit / scale);
    if (total > kLimit) throw UsageError(refusal + ", or it is too long");
    rest.remove_prefix(at + 1);
  }
  const auto result = floor<seconds>(nanoseconds(total));
  if (result < seconds(1)) throw UsageError(refusal + "; the shortest is 1s");
  return result;
}

nanoseconds spread(std::string_view name, Time due, nanoseconds jitter) {
  if (jitter <= nanoseconds(0)) return nanoseconds(0);
  const auto at = static_cast<uint64_t>(floor<seconds>(due).time_since_epoch().count());
  return nanoseconds(static_cast<int64_t>(hash(name, at) % static_cast<uint64_t>(jitter.count())));
}

}  // namespace davit::schedule
