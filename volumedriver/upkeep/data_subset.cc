#include "upkeep/data_subset.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <numeric>
#include <random>

#include "base/bytes.h"
#include "base/errors.h"

namespace davit::upkeep {

namespace {

// The first byte of an ID says in which part a pack is.
constexpr uint64_t kMostParts = 256;

[[noreturn]] void refuse(std::string_view text) {
  throw base::UsageError("'" + std::string(text) +
                         "' is no part of the data: give n/t (n from 1 to t, t at most 256), a "
                         "percentage such as 2.5%, or a size such as 500M");
}

uint64_t parse_whole(std::string_view digits, std::string_view text) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (digits.empty() || error != std::errc() || end != digits.data() + digits.size()) refuse(text);
  return value;
}

double parse_percent(std::string_view digits, std::string_view text) {
  const size_t point = digits.find('.');
  const std::string_view fraction = point == std::string_view::npos ? "" : digits.substr(point + 1);
  if (fraction.size() > 9 || (point != std::string_view::npos && fraction.empty())) refuse(text);
  double value = static_cast<double>(parse_whole(digits.substr(0, point), text));
  if (!fraction.empty())
    value += static_cast<double>(parse_whole(fraction, text)) /
             std::pow(10.0, static_cast<double>(fraction.size()));
  if (value <= 0 || value > 100) refuse(text);
  return value;
}

uint64_t parse_size(std::string_view text) {
  uint64_t unit = 1;
  std::string_view digits = text;
  switch (text.empty() ? '\0' : text.back()) {
    case 'k':
    case 'K':
      unit = uint64_t{1} << 10;
      break;
    case 'm':
    case 'M':
      unit = uint64_t{1} << 20;
      break;
    case 'g':
    case 'G':
      unit = uint64_t{1} << 30;
      break;
    case 't':
    case 'T':
      unit = uint64_t{1} << 40;
      break;
    default:
      break;
  }
  if (unit != 1) digits.remove_suffix(1);
  const uint64_t count = parse_whole(digits, text);
  if (count == 0 || count > UINT64_MAX / unit) refuse(text);
  return count * unit;
}

}  // namespace

DataSubset DataSubset::parse(std::string_view text) {
  DataSubset subset;
  if (const size_t slash = text.find('/'); slash != std::string_view::npos) {
    subset.part_ = parse_whole(text.substr(0, slash), text);
    subset.parts_ = parse_whole(text.substr(slash + 1), text);
    if (subset.part_ < 1 || subset.part_ > subset.parts_ || subset.parts_ > kMostParts)
      refuse(text);
  } else if (text.ends_with('%')) {
    subset.kind_ = Kind::percent;
    subset.percent_ = parse_percent(text.substr(0, text.size() - 1), text);
  } else {
    subset.kind_ = Kind::bytes;
    subset.bytes_ = parse_size(text);
  }
  return subset;
}

std::vector<bool> DataSubset::choose(std::span<const PackSize> packs, uint64_t seed) const {
  std::vector<bool> chosen(packs.size());
  if (kind_ == Kind::part) {
    for (size_t i = 0; i < packs.size(); ++i)
      chosen[i] = packs[i].id.bytes[0] % parts_ == part_ - 1;
    return chosen;
  }
  std::vector<size_t> order(packs.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::mt19937_64 random(seed);
  std::shuffle(order.begin(), order.end(), random);
  const auto wanted =
      static_cast<size_t>(std::ceil(static_cast<double>(packs.size()) * percent_ / 100));
  uint64_t bytes = 0;
  for (size_t i = 0; i < order.size(); ++i) {
    if (kind_ == Kind::percent ? i >= wanted : bytes >= bytes_) break;
    chosen[order[i]] = true;
    bytes += packs[order[i]].size_bytes;
  }
  return chosen;
}

ChoosePacks DataSubset::by_chance() const {
  return [subset = *this](std::span<const PackSize> packs) {
    uint64_t seed = 0;
    base::random_fill({reinterpret_cast<uint8_t*>(&seed), sizeof seed});
    return subset.choose(packs, seed);
  };
}

std::vector<bool> choose_all(std::span<const PackSize> packs) {
  return std::vector<bool>(packs.size(), true);
}

}  // namespace davit::upkeep
