#include "jobs/mirror_book.h"

#include <nlohmann/json.hpp>

#include "base/errors.h"
#include "base/files.h"
#include "base/log.h"
#include "crypto/sha256.h"

namespace davit::jobs {

namespace {

constexpr size_t kRepairsKept = 20;

// Places and errors may hold any bytes.
void write(const std::string& path, const nlohmann::json& json) {
  base::make_directories(path.substr(0, path.rfind('/')));
  const std::string text =
      json.dump(1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
  base::write_file_atomic(path, base::as_bytes(text));
}

nlohmann::json read(const std::string& path) {
  const auto bytes = base::find_file(path);
  if (!bytes) return {};
  auto json = nlohmann::json::parse(base::as_text(*bytes), nullptr, false);
  if (!json.is_discarded()) return json;
  spdlog::warn("{} cannot be read and counts for nothing", path);
  return {};
}

}  // namespace

MirrorBook::MirrorBook(std::string directory) : directory_(std::move(directory)) {
  const auto repairs = read(directory_ + "/repairs.json");
  if (!repairs.is_array()) return;
  for (const auto& each : repairs)
    if (each.is_string()) book_.lock()->repairs.push_back(each.get<std::string>());
}

std::string MirrorBook::stem(const std::string& place) const {
  return directory_ + "/" + crypto::sha256(base::as_bytes(place)).hex().substr(0, 16);
}

MirrorBook::Entry MirrorBook::load(const std::string& place) const {
  Entry entry;
  entry.status.place = place;
  entry.journal = std::make_shared<MirrorJournal>(stem(place) + ".removals");
  const auto json = read(stem(place) + ".json");
  if (!json.is_object()) return entry;
  if (json.contains("id") && json["id"].is_string()) entry.seen = json["id"].get<std::string>();
  if (json.contains("in_sync") && json["in_sync"].is_string()) try {
      entry.status.in_sync = base::parse_rfc3339(json["in_sync"].get<std::string>());
    } catch (const base::UsageError&) {  // it will be known again soon
    }
  return entry;
}

void MirrorBook::save(const Entry& entry) const {
  nlohmann::json json = {{"place", entry.status.place}};
  if (entry.seen) json["id"] = *entry.seen;
  if (entry.status.in_sync) json["in_sync"] = base::format_utc(*entry.status.in_sync);
  write(stem(entry.status.place) + ".json", json);
}

void MirrorBook::set(const std::vector<std::pair<std::string, bool>>& mirrors) {
  book_.with([&](Book& book) {
    book.order.clear();
    for (const auto& [place, append_only] : mirrors) {
      if (!book.entries.contains(place)) book.entries.emplace(place, load(place));
      book.entries.at(place).status.append_only = append_only;
      book.order.push_back(place);
    }
  });
}

std::vector<std::string> MirrorBook::places() const {
  return book_.lock()->order;
}

std::vector<MirrorStatus> MirrorBook::list() const {
  return book_.with([](const Book& book) {
    std::vector<MirrorStatus> all;
    for (const auto& place : book.order) all.push_back(book.entries.at(place).status);
    return all;
  });
}

std::string MirrorBook::summary() const {
  const auto mirrors = list();
  std::string wrong;
  for (const auto& mirror : mirrors)
    if (mirror.state != "in sync")
      wrong += (wrong.empty() ? "" : "; ") + mirror.place + ": " + mirror.state;
  if (mirrors.empty() || !wrong.empty()) return wrong;
  return std::to_string(mirrors.size()) + (mirrors.size() == 1 ? " mirror is" : " mirrors are") +
         " in sync";
}

std::shared_ptr<MirrorJournal> MirrorBook::journal(const std::string& place) {
  return book_.with([&](Book& book) { return book.entries.at(place).journal; });
}

template <typename Change>
void MirrorBook::change(const std::string& place, Change change) {
  book_.with([&](Book& book) {
    if (const auto found = book.entries.find(place); found != book.entries.end())
      change(found->second);
  });
}

std::optional<std::string> MirrorBook::seen(const std::string& place) const {
  return book_.with([&](const Book& book) { return book.entries.at(place).seen; });
}

void MirrorBook::note_seen(const std::string& place, const std::string& id) {
  change(place, [&](Entry& entry) {
    if (entry.seen == id) return;
    entry.seen = id;
    save(entry);
  });
}

void MirrorBook::accept(const std::string& place) {
  book_.with([&](Book& book) {
    const auto found = book.entries.find(place);
    if (found == book.entries.end()) {
      std::string known;
      for (const auto& each : book.order) known += (known.empty() ? "" : ", ") + each;
      throw base::NotFound("there is no mirror " + place +
                           (known.empty() ? "; there is none" : "; there are: " + known));
    }
    found->second.seen.reset();
    save(found->second);
  });
}

void MirrorBook::note_behind(const std::string& place, uint64_t files, uint64_t bytes) {
  change(place, [&](Entry& entry) {
    entry.status.behind_files = files;
    entry.status.behind_bytes = bytes;
    entry.status.away_since.reset();
    entry.status.error.clear();
    if (files > 0) entry.status.state = "behind";
  });
}

void MirrorBook::note_in_sync(const std::string& place, base::Time when, const std::string& note) {
  change(place, [&](Entry& entry) {
    entry.first = false;
    entry.status.state = "in sync";
    entry.status.in_sync = when;
    entry.status.away_since.reset();
    entry.status.behind_files = entry.status.behind_bytes = 0;
    entry.status.error.clear();
    entry.status.note = note;
    save(entry);
  });
}

void MirrorBook::note_failure(const std::string& place, base::Time when, const std::string& state,
                              const std::string& why) {
  change(place, [&](Entry& entry) {
    entry.status.state = state;
    entry.status.error = why;
    if (state != "away")
      entry.status.away_since.reset();
    else if (!entry.status.away_since)
      entry.status.away_since = when;
  });
}

void MirrorBook::add_repair(base::Time when, const std::string& repair) {
  book_.with([&](Book& book) {
    ++book.repair_count;
    book.repairs.push_back(base::format_utc(when) + " " + repair);
    if (book.repairs.size() > kRepairsKept) book.repairs.erase(book.repairs.begin());
    try {
      write(directory_ + "/repairs.json", book.repairs);
    } catch (const base::Error& error) {  // it is in the log, too
      spdlog::warn("what was repaired cannot be noted: {}", error.what());
    }
  });
}

std::vector<std::string> MirrorBook::repairs() const {
  return book_.lock()->repairs;
}
uint64_t MirrorBook::repair_count() const {
  return book_.lock()->repair_count;
}
void MirrorBook::note_primary(const std::string& why) {
  book_.lock()->primary_away = why;
}
std::string MirrorBook::primary_away() const {
  return book_.lock()->primary_away;
}

bool MirrorBook::is_first(const std::string& place) const {
  return book_.with([&](const Book& book) { return book.entries.at(place).first; });
}

void MirrorBook::on_change(std::function<void()> call) {
  *on_change_.lock() = std::move(call);
}

void MirrorBook::changed() {
  on_change_.with([](const auto& call) {
    if (call) call();
  });
}

}  // namespace davit::jobs
