#include "base/zone.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <vector>

#include "base/errors.h"
#include "base/files.h"
#include "base/posix_zone.h"

namespace davit::base {

using namespace std::chrono;

struct Zone::Rules {
  struct Change {
    sys_seconds at;
    seconds offset;  // from then on
  };
  std::string name;
  seconds before{0};  // until the first change
  std::vector<Change> changes;
  std::optional<PosixZone> after;  // after the last change
};

namespace {

constexpr size_t kMaxFileBytes = 1 << 20;
// What a Time can hold, in whole seconds and with room for an offset.
constexpr sys_seconds kFirst{seconds(-9'220'000'000)};
constexpr sys_seconds kLast{seconds(9'220'000'000)};

// Big-endian numbers out of a TZif file; throws Corrupt past the end.
class TzifReader {
 public:
  TzifReader(const std::string& name, std::string_view bytes) : name_(name), bytes_(bytes) {}

  [[noreturn]] void refuse(const char* why) const {
    throw Corrupt("zone file of '" + name_ + "': " + why);
  }
  std::string_view take(size_t count) {
    if (bytes_.size() < count) refuse("it ends too early");
    const std::string_view part = bytes_.substr(0, count);
    bytes_.remove_prefix(count);
    return part;
  }
  int64_t number(int size) {
    uint64_t value = 0;
    for (const char c : take(static_cast<size_t>(size)))
      value = value << 8 | static_cast<uint8_t>(c);
    return size == 4 ? static_cast<int32_t>(static_cast<uint32_t>(value))
                     : static_cast<int64_t>(value);
  }
  std::string_view rest() const { return bytes_; }

 private:
  const std::string& name_;
  std::string_view bytes_;
};

struct TzifHeader {
  char version;
  size_t is_utc, is_standard, leap, times, types, letters;

  size_t body_bytes(size_t time_size) const {
    return times * time_size + times + types * 6 + letters + leap * (time_size + 4) + is_standard +
           is_utc;
  }
};

TzifHeader read_header(TzifReader& in) {
  if (in.take(4) != "TZif") in.refuse("it is none");
  TzifHeader header{};
  header.version = in.take(1)[0];
  in.take(15);
  for (size_t* count : {&header.is_utc, &header.is_standard, &header.leap, &header.times,
                        &header.types, &header.letters}) {
    const int64_t value = in.number(4);
    if (value < 0 || value > static_cast<int64_t>(kMaxFileBytes))
      in.refuse("a count is out of range");
    *count = static_cast<size_t>(value);
  }
  if (header.types == 0 || header.types > 256) in.refuse("it has no types of time");
  return header;
}

std::optional<Bytes> find_regular_file(const std::string& path) {
  std::error_code error;
  if (!std::filesystem::is_regular_file(path, error)) return std::nullopt;
  return find_file(path, kMaxFileBytes);
}

bool is_utc_name(std::string_view name) {
  for (const char* utc :
       {"UTC", "Etc/UTC", "Etc/UCT", "UCT", "Zulu", "Etc/Zulu", "Universal", "GMT", "Etc/GMT"})
    if (name == utc) return true;
  return false;
}

// No path may leave the directory of zones.
bool is_zone_name(std::string_view name) {
  if (name.empty() || name.size() > 100 || name.front() == '/' || name.find("..") != name.npos)
    return false;
  return std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '/' ||
           c == '_' || c == '-' || c == '+';
  });
}

std::string zone_directory() {
  const char* set = std::getenv("TZDIR");
  if (set && *set) return set;
  std::error_code error;
  for (const char* path : {"/usr/share/zoneinfo", "/usr/lib/zoneinfo", "/usr/share/lib/zoneinfo"})
    if (std::filesystem::is_directory(path, error)) return path;
  return "/usr/share/zoneinfo";
}

Time to_time(sys_seconds at) {
  return std::clamp(at, kFirst, kLast);
}

}  // namespace

Zone::Zone() {
  static const auto utc = [] {
    auto rules = std::make_shared<Rules>();
    rules->name = "UTC";
    return std::shared_ptr<const Rules>(std::move(rules));
  }();
  rules_ = utc;
}

Zone Zone::from_tzif(std::string name, std::string_view bytes) {
  auto rules = std::make_shared<Rules>();
  rules->name = std::move(name);
  TzifReader in(rules->name, bytes);
  TzifHeader header = read_header(in);
  int time_size = 4;
  if (header.version >= '2') {
    in.take(header.body_bytes(4));
    header = read_header(in);
    time_size = 8;
  }
  if (header.leap != 0) in.refuse("it counts leap seconds, which system time does not");
  std::vector<sys_seconds> times;
  for (size_t i = 0; i < header.times; ++i) {
    const sys_seconds at(
        seconds(std::clamp<int64_t>(in.number(time_size), kFirst.time_since_epoch().count(),
                                    kLast.time_since_epoch().count())));
    if (!times.empty() && at < times.back()) in.refuse("its times are not in order");
    times.push_back(at);
  }
  const std::string_view kinds = in.take(header.times);
  std::vector<seconds> offsets;
  for (size_t i = 0; i < header.types; ++i) {
    const int64_t offset = in.number(4);
    if (offset < -26 * 3600 || offset > 26 * 3600) in.refuse("an offset is out of range");
    offsets.push_back(seconds(offset));
    in.take(2);
  }
  in.take(header.letters + header.is_standard + header.is_utc);
  rules->before = offsets[0];
  for (size_t i = 0; i < header.times; ++i) {
    const auto kind = static_cast<uint8_t>(kinds[i]);
    if (kind >= offsets.size()) in.refuse("a type of time is out of range");
    rules->changes.push_back({times[i], offsets[kind]});
  }
  if (header.version >= '2') {
    if (in.take(1) != "\n") in.refuse("its last line is missing");
    const size_t end = in.rest().find('\n');
    if (end == in.rest().npos) in.refuse("its last line is cut");
    const std::string_view rule = in.rest().substr(0, end);
    rules->after = PosixZone::parse(rule);
    if (!rules->after && !rule.empty()) in.refuse("its last line is no rule");
  }
  return Zone(std::move(rules));
}

Zone Zone::from_posix(std::string_view rule) {
  auto rules = std::make_shared<Rules>();
  rules->name = rule;
  rules->after = PosixZone::parse(rule);
  if (!rules->after) throw UsageError("'" + std::string(rule) + "' is no rule of a time zone");
  return Zone(std::move(rules));
}

Zone Zone::find(std::string_view name, const std::string& directory) {
  if (is_utc_name(name)) return Zone();
  const std::string place = directory.empty() ? zone_directory() : directory;
  const std::string quoted = "time zone '" + std::string(name) + "'";
  if (is_zone_name(name))
    if (const auto bytes = find_regular_file(place + "/" + std::string(name)))
      return from_tzif(std::string(name), as_text(*bytes));
  std::error_code error;
  if (!std::filesystem::is_directory(place, error) || std::filesystem::is_empty(place, error))
    throw UsageError(quoted + " cannot be used: there is no zone data in " + place +
                     " (install tzdata); without it only UTC works");
  throw UsageError(quoted + " is not known; give a name such as Europe/Berlin, or UTC");
}

Zone Zone::local() {
  if (const char* set = std::getenv("TZ")) {
    std::string_view text = set;
    if (!text.empty() && text.front() == ':') text.remove_prefix(1);
    if (text.empty()) return Zone();
    if (text.front() == '/') {
      const auto bytes = find_regular_file(std::string(text));
      if (!bytes)
        throw UsageError("TZ names the file " + std::string(text) + ", which is not there");
      return from_tzif(std::string(text), as_text(*bytes));
    }
    try {
      return find(text);
    } catch (const UsageError& unknown) {
      if (PosixZone::parse(text)) return from_posix(text);
      throw UsageError(std::string("TZ: ") + unknown.what());
    }
  }
  const std::string path = "/etc/localtime";
  const auto bytes = find_regular_file(path);
  if (!bytes) return Zone();
  std::error_code error;
  std::string name = std::filesystem::read_symlink(path, error).string();
  const size_t at = name.find("zoneinfo/");
  name = error || at == name.npos ? path : name.substr(at + 9);
  if (is_utc_name(name)) return Zone();
  return from_tzif(std::move(name), as_text(*bytes));
}

const std::string& Zone::name() const {
  return rules_->name;
}

Zone::Span Zone::span_at(Time time) const {
  const Rules& rules = *rules_;
  const auto at = floor<seconds>(time);
  const auto next =
      std::upper_bound(rules.changes.begin(), rules.changes.end(), at,
                       [](sys_seconds t, const Rules::Change& change) { return t < change.at; });
  if (next != rules.changes.end() || !rules.after) {
    const bool first = next == rules.changes.begin();
    return {first ? to_time(kFirst) : to_time(std::prev(next)->at),
            next == rules.changes.end() ? to_time(kLast) : to_time(next->at),
            first ? rules.before : std::prev(next)->offset};
  }
  const sys_seconds since = rules.changes.empty() ? kFirst : rules.changes.back().at;
  const PosixZone& rule = *rules.after;
  if (!rule.has_summer) return {to_time(since), to_time(kLast), rule.standard};
  const int y = static_cast<int>(year_month_day(floor<days>(at)).year());
  const auto changes = rule.changes(y - 2, y + 2);
  const auto later = std::upper_bound(
      changes.begin(), changes.end(), at,
      [](sys_seconds t, const PosixZone::Change& change) { return t < change.at; });
  // A change may stand a week outside its year, never two years: both neighbours are there,
  // whatever the rule.
  DAVIT_CHECK(later != changes.begin() && later != changes.end());
  const auto begin = std::prev(later);
  return {to_time(std::max(begin->at, since)), to_time(later->at),
          begin->to_summer ? rule.summer : rule.standard};
}

LocalTime Zone::to_local(Time time) const {
  return LocalTime((time + offset_at(time)).time_since_epoch());
}

Zone::Resolved Zone::from_local(LocalTime local) const {
  using Kind = Resolved::Kind;
  // Offsets are below 27 hours, so the instant is within that of the same digits read as UTC.
  const Time digits =
      std::clamp(Time(local.time_since_epoch()), Time(kFirst + hours(72)), Time(kLast - hours(72)));
  std::optional<Time> found;
  for (Span span = span_at(digits - hours(27));; span = span_at(span.end)) {
    const Time candidate = digits - span.offset;
    if (candidate <
        span.begin) {  // the digits were jumped over, or all that show them have been seen
      if (found) return {Kind::unique, *found, *found};
      return {Kind::gap, span.begin, span.begin};
    }
    if (candidate < span.end) {
      if (found) return {Kind::overlap, *found, candidate};
      found = candidate;
    }
    if (span.end > digits + hours(27)) {
      DAVIT_CHECK(found.has_value());
      return {Kind::unique, *found, *found};
    }
  }
}

}  // namespace davit::base
