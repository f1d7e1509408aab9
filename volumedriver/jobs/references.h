// What `from=` and the command line may say to name a snapshot of a volume or of a container, and which snapshot that
// is. Pure.
//
//   VOLUME  VOLUME@latest  VOLUME@TIME  VOLUME@ID  ID  HOST:VOLUME[@…]  auto
//   CONTAINER and so on: the same words; no auto
//
// TIME: RFC 3339, down to a date alone, in `zone` if it names none; the newest at or before it. "Newest" and TIME
// count complete snapshots only (a partial one is restored when it is asked for by its ID). Without HOST: this
// host's, else those of the only other host that has some.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/zone.h"
#include "repo/snapshot.h"

namespace davit::jobs {

// davit's own words in a snapshot.
inline constexpr const char* kTagDavit = "davit";
inline constexpr const char* kTagPartial = "partial";
inline constexpr const char* kTagFinal = "final";
inline constexpr const char* kTagSafety = "safety";
inline constexpr const char* kVolumesPath = "/volumes/";
// "NAME" of a snapshot of "/volumes/NAME"; "" for any other.
std::string volume_of(const repo::Snapshot& snapshot);
bool is_partial(const repo::Snapshot& snapshot);

// What a reference is to: a snapshot of a volume never stands for one of a container of that name.
enum class Subject : uint8_t { volume, container };
// "NAME" of a snapshot of "/volumes/NAME" or "/containers/NAME"; "" for any other.
std::string name_of(const repo::Snapshot& snapshot, Subject subject);

struct Reference {
  bool automatic = false;
  std::string host = {}, volume = {};  // or the container
  std::string id_prefix = {};          // VOLUME@ID or ID
  std::optional<base::Time> at = {};   // VOLUME@TIME
  bool may_be_id = false;              // bare text that is a name or an ID
  Subject subject = Subject::volume;
};

// Throws UsageError that says what a reference looks like. `volume`: the name of the volume being made, for auto.
Reference parse_reference(std::string_view text, const std::string& volume, const base::Zone& zone,
                          Subject subject = Subject::volume);

// The one that is meant. Nothing only for auto, and only when no host has a snapshot of the volume at all.
// Throws NotFound or Conflict (ambiguous), naming what there is. `snapshots`: oldest first.
std::optional<repo::Snapshot> resolve(const Reference& reference, const std::vector<repo::Snapshot>& snapshots,
                                      const std::string& own_host);

}  // namespace davit::jobs
