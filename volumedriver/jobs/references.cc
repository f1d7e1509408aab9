#include "jobs/references.h"

#include <algorithm>
#include <map>
#include <set>

#include "base/errors.h"
#include "jobs/points.h"
#include "volumes/name.h"

namespace davit::jobs {

using base::Conflict;
using base::NotFound;
using base::UsageError;
using repo::Snapshot;

namespace {

std::string forms(Subject subject) {
  if (subject == Subject::container)
    return "a reference is CONTAINER, CONTAINER@latest, CONTAINER@TIME (2026-11-21T18:00), CONTAINER@ID, "
           "HOST:CONTAINER@…, or a snapshot ID of 8 digits or more";
  return "a reference is VOLUME, VOLUME@latest, VOLUME@TIME (2026-11-21T18:00), VOLUME@ID, HOST:VOLUME@…, "
         "a snapshot ID of 8 digits or more, or auto";
}

bool is_id(std::string_view text) {
  return text.size() >= 8 && text.size() <= 64 &&
         text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

// Fills up what a person left out with zeros: "2026-11-21" is the beginning of that day.
base::Time parse_time(std::string_view text, const base::Zone& zone) {
  std::string full(text);
  if (full.size() == 10) full += "T00:00";
  // The zone, if any, follows the 'T' part.
  const size_t t = full.find_first_of("Tt ");
  const size_t zone_at = t == std::string::npos ? t : full.find_first_of("Zz+-", t);
  std::string clock = full.substr(0, zone_at);
  const std::string suffix = zone_at == std::string::npos ? "" : full.substr(zone_at);
  if (clock.size() == 16) clock += ":00";
  if (!suffix.empty()) return base::parse_rfc3339(clock + suffix);
  const base::Time as_if_utc = base::parse_rfc3339(clock + "Z");
  // In the hour that happens twice, the later one: "at or before" then loses nothing.
  return zone.from_local(base::LocalTime(as_if_utc.time_since_epoch())).second;
}

std::string tell(const Snapshot& snapshot) {
  const std::string volume = volume_of(snapshot);
  return snapshot.id.short_hex() + " (" + (volume.empty() ? name_of(snapshot, Subject::container) : volume) + " of " + repo::format(snapshot.time) +
         (snapshot.hostname.empty() ? "" : " on " + snapshot.hostname) + (is_partial(snapshot) ? ", partial" : "") + ")";
}

template <typename Range>
std::string join(const Range& items, size_t most) {
  std::string text;
  size_t count = 0;
  for (const auto& item : items) {
    if (count++ == most) return text + ", …";
    text += (text.empty() ? "" : ", ") + item;
  }
  return text;
}

// "There are: pgdata (12, newest 2026-…), …" for errors.
std::string what_there_is(const std::vector<Snapshot>& snapshots, const std::string& own_host, Subject subject) {
  std::map<std::string, std::pair<size_t, repo::ZonedTime>> groups;
  for (const auto& snapshot : snapshots) {
    const std::string name = name_of(snapshot, subject);
    if (name.empty()) continue;
    auto& group = groups[(snapshot.hostname == own_host ? "" : snapshot.hostname + ":") + name];
    ++group.first;
    group.second = snapshot.time;
  }
  if (groups.empty())
    return std::string("the repository holds no snapshots of ") +
           (subject == Subject::container ? "containers (those with the label davit.commit=true are saved)" : "volumes");
  std::vector<std::string> names;
  for (const auto& [name, group] : groups)
    names.push_back(name + " (" + std::to_string(group.first) + ", newest " + repo::format(group.second) + ")");
  return "the repository holds: " + join(names, 10);
}

const Snapshot& by_id(const std::string& prefix, const std::vector<const Snapshot*>& among, const std::string& hint) {
  std::vector<const Snapshot*> found;
  for (const Snapshot* snapshot : among)
    if (snapshot->id.hex().starts_with(prefix)) found.push_back(snapshot);
  if (found.empty()) throw NotFound("there is no snapshot " + prefix + "; " + hint);
  if (found.size() > 1) {
    std::vector<std::string> names;
    for (const Snapshot* snapshot : found) names.push_back(tell(*snapshot));
    throw Conflict("the ID " + prefix + " is ambiguous: " + join(names, 5));
  }
  return *found.front();
}

}  // namespace

std::string volume_of(const Snapshot& snapshot) {
  if (snapshot.paths.size() != 1 || !snapshot.paths[0].starts_with(kVolumesPath)) return "";
  std::string name = snapshot.paths[0].substr(std::string_view(kVolumesPath).size());
  return volumes::is_valid_name(name) ? name : "";
}

std::string name_of(const Snapshot& snapshot, Subject subject) {
  return subject == Subject::container ? container_of(snapshot) : volume_of(snapshot);
}

bool is_partial(const Snapshot& snapshot) { return snapshot.has_tag(kTagPartial); }

Reference parse_reference(std::string_view text, const std::string& volume, const base::Zone& zone, Subject subject) {
  Reference reference;
  reference.subject = subject;
  if (text == "auto" && subject == Subject::volume) {
    reference.automatic = true;
    reference.volume = volume;
    return reference;
  }
  const size_t at = text.find('@');
  std::string_view name = text.substr(0, at);
  if (const size_t colon = name.rfind(':'); colon != std::string_view::npos) {
    reference.host = name.substr(0, colon);
    name = name.substr(colon + 1);
    if (reference.host.empty()) throw UsageError("'" + std::string(text) + "': the host is missing; " + forms(subject));
  }
  if (!volumes::is_valid_name(name))
    throw UsageError("'" + std::string(text) + "' is no reference; " + forms(subject));
  reference.volume = name;
  if (at == std::string_view::npos) {
    reference.may_be_id = reference.host.empty() && is_id(name);
    return reference;
  }
  const std::string_view which = text.substr(at + 1);
  if (which == "latest") return reference;
  if (is_id(which)) {
    reference.id_prefix = which;
    return reference;
  }
  try {
    reference.at = parse_time(which, zone);
  } catch (const UsageError&) {
    throw UsageError("'" + std::string(which) + "' is neither a time, nor a snapshot ID of 8 digits or more, nor "
                     "latest; " + forms(subject));
  }
  return reference;
}

std::optional<Snapshot> resolve(const Reference& reference, const std::vector<Snapshot>& snapshots,
                                const std::string& own_host) {
  // Those of the volume, and of which hosts they are.
  std::vector<const Snapshot*> all, of_volume;
  std::set<std::string> hosts;
  for (const auto& snapshot : snapshots) {
    all.push_back(&snapshot);
    if (name_of(snapshot, reference.subject) == reference.volume) {
      of_volume.push_back(&snapshot);
      hosts.insert(snapshot.hostname);
    }
  }
  if (reference.may_be_id && of_volume.empty())
    return by_id(reference.volume, all, what_there_is(snapshots, own_host, reference.subject));

  std::string host = reference.host;
  if (host.empty()) {
    if (hosts.contains(own_host)) {
      host = own_host;
    } else if (hosts.size() > 1 && reference.id_prefix.empty()) {
      std::vector<std::string> names;
      for (const auto& each : hosts) names.push_back((reference.subject == Subject::volume ? "from=" : "") + each + ":" + reference.volume);
      throw Conflict("several other hosts have snapshots of " + reference.volume + ": say which, one of " +
                     join(names, 10));
    } else if (hosts.size() == 1) {
      host = *hosts.begin();
    }
  }
  if (reference.automatic && of_volume.empty()) return std::nullopt;

  if (!reference.id_prefix.empty()) {
    // An ID is unique by itself: the host only matters when it is said.
    std::vector<const Snapshot*> among;
    for (const Snapshot* snapshot : of_volume)
      if (reference.host.empty() || snapshot->hostname == reference.host) among.push_back(snapshot);
    return by_id(reference.id_prefix, among, "of " + reference.volume + " there are " + std::to_string(among.size()) +
                                                " snapshots (davit snapshots" +
                                                (reference.subject == Subject::volume ? " " : " --container ") +
                                                reference.volume + ")");
  }

  const Snapshot* best = nullptr;
  const Snapshot* earliest = nullptr;
  const Snapshot* partial = nullptr;
  for (const Snapshot* snapshot : of_volume) {
    if (snapshot->hostname != host) continue;
    if (is_partial(*snapshot)) {
      if (!reference.at || snapshot->time.time <= *reference.at) partial = snapshot;
      continue;
    }
    if (!earliest || snapshot->time.time < earliest->time.time) earliest = snapshot;
    if (reference.at && snapshot->time.time > *reference.at) continue;
    if (!best || snapshot->time.time >= best->time.time) best = snapshot;
  }
  if (best) return *best;
  const std::string of = (reference.host.empty() ? "" : reference.host + ":") + reference.volume;
  if (partial)
    throw NotFound("there are only partial snapshots of " + of + "; to restore one, name it: " +
                   reference.volume + "@" + partial->id.short_hex());
  if (reference.at && earliest)
    throw NotFound("there is no snapshot of " + of + " at or before " + base::format_utc(*reference.at) +
                   "; the earliest is " + tell(*earliest));
  throw NotFound("there is no snapshot of " + of + "; " + what_there_is(snapshots, own_host, reference.subject));
}

}  // namespace davit::jobs
