#include "upkeep/read_book.h"

#include <algorithm>
#include <numeric>
#include <tuple>

#include "base/errors.h"
#include "base/files.h"
#include "base/log.h"

namespace davit::upkeep {

using namespace std::chrono;

namespace {

// The file: this, the repository's ID, and for each pack the first 12 bytes of its ID and a number:
// the minute, and in the highest bit whether it was read then.
constexpr std::string_view kMagic = "davit packs read";
constexpr size_t kHead = 16 + 32, kEntry = 16;
constexpr uint32_t kRead = uint32_t{1} << 31;
static_assert(kMagic.size() == 16);

uint32_t minute_of(base::Time time) {
  const auto minutes = duration_cast<std::chrono::minutes>(time.time_since_epoch()).count();
  return static_cast<uint32_t>(std::clamp<int64_t>(minutes, 0, kRead - 1));
}
base::Time time_of(uint32_t minute) {
  return base::Time(minutes(minute));
}

}  // namespace

ReadBook::Key ReadBook::key_of(const base::Id& pack) {
  Key key;
  std::copy_n(pack.bytes.begin(), key.size(), key.begin());
  return key;
}

ReadBook ReadBook::load(const std::string& path, const base::Id& repository) {
  ReadBook book;
  book.repository_ = repository;
  std::optional<base::Bytes> bytes;
  try {
    bytes = base::find_file(path, size_t{1} << 30);
  } catch (const base::Error& error) {
    spdlog::warn("which packs were read is not known: {}", error.what());
  }
  if (!bytes || bytes->size() < kHead || (bytes->size() - kHead) % kEntry != 0) return book;
  const base::ByteView all(*bytes);
  if (base::as_text(all.first(kMagic.size())) != kMagic ||
      !std::equal(repository.bytes.begin(), repository.bytes.end(), all.begin() + kMagic.size()))
    return book;
  for (base::ByteView rest = all.subspan(kHead); !rest.empty(); rest = rest.subspan(kEntry)) {
    Key key;
    std::copy_n(rest.begin(), key.size(), key.begin());
    const uint32_t number = base::load_le32(rest.data() + key.size());
    book.entries_.emplace_hint(book.entries_.end(), key,
                               Entry{number & ~kRead, (number & kRead) != 0});
  }
  return book;
}

void ReadBook::save(const std::string& path) const {
  base::Bytes bytes;
  bytes.reserve(kHead + entries_.size() * kEntry);
  base::append(bytes, base::as_bytes(kMagic));
  base::append(bytes, repository_.bytes);
  for (const auto& [key, entry] : entries_) {
    base::append(bytes, key);
    std::array<uint8_t, 4> number;
    base::store_le32(number.data(), entry.minute | (entry.is_read ? kRead : 0));
    base::append(bytes, number);
  }
  base::make_directories(path.substr(0, path.rfind('/')));
  base::write_file_atomic(path, bytes);
}

void ReadBook::adopt(std::span<const PackSize> packs, base::Time now) {
  std::map<Key, Entry> known;
  known.swap(entries_);
  for (const PackSize& pack : packs) {
    const auto found = known.find(key_of(pack.id));
    entries_[key_of(pack.id)] = found == known.end() ? Entry{minute_of(now), false} : found->second;
  }
}

void ReadBook::note_read(const base::Id& pack, base::Time now) {
  entries_[key_of(pack)] = {minute_of(now), true};
}

std::vector<bool> ReadBook::choose(std::span<const PackSize> packs, base::Time now, seconds period,
                                   nanoseconds since_last) const {
  const uint32_t this_minute = minute_of(now);
  const auto entry_of = [&](size_t i) {
    const auto found = entries_.find(key_of(packs[i].id));
    // What lies ahead of a clock that was set back never was.
    if (found == entries_.end() || found->second.minute > this_minute)
      return Entry{this_minute, false};
    return found->second;
  };
  const uint32_t due_before = minute_of(now + days(1) - period);
  const auto is_due = [&](const Entry& entry) { return entry.minute <= due_before; };
  struct Candidate {
    size_t number;
    Entry entry;
  };
  std::vector<Candidate> order;
  uint64_t total_bytes = 0;
  for (size_t i = 0; i < packs.size(); ++i) {
    order.push_back({i, entry_of(i)});
    total_bytes += packs[i].size_bytes;
  }
  std::stable_sort(order.begin(), order.end(), [&](const Candidate& a, const Candidate& b) {
    const auto rank = [&](const Entry& entry) {
      return std::tuple(!is_due(entry), entry.is_read, entry.minute);
    };
    return rank(a.entry) < rank(b.entry);
  });
  const double share = std::min(1.0, duration<double>(std::max<nanoseconds>(since_last, days(1))) /
                                         duration<double>(std::max<seconds>(period, days(1))));
  const double wanted_bytes = static_cast<double>(total_bytes) * share;
  std::vector<bool> chosen(packs.size());
  double bytes = 0;
  for (const Candidate& each : order) {
    if (!is_due(each.entry) && bytes >= wanted_bytes) break;
    chosen[each.number] = true;
    bytes += static_cast<double>(packs[each.number].size_bytes);
  }
  return chosen;
}

ReadBook::Coverage ReadBook::coverage(base::Time now, seconds period) const {
  Coverage coverage;
  coverage.packs = entries_.size();
  for (const auto& [key, entry] : entries_) {
    if (!entry.is_read) {
      ++coverage.never;
      continue;
    }
    const base::Time read = time_of(entry.minute);
    if (read <= now && now - read <= period) ++coverage.covered;
    if (!coverage.oldest || read < *coverage.oldest) coverage.oldest = read;
  }
  return coverage;
}

}  // namespace davit::upkeep
