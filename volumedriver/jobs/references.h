// What `from=` and the command line may say to name a snapshot, and which snapshot that is. Pure.
//
//   VOLUME  VOLUME@latest  VOLUME@TIME  VOLUME@ID  ID  HOST:VOLUME[@…]  auto
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

struct Reference {
  bool automatic = false;
  std::string host = {}, volume = {};  // volume "": a bare ID
  std::string id_prefix = {};          // VOLUME@ID or ID
  std::optional<base::Time> at = {};   // VOLUME@TIME
  bool may_be_id = false;              // bare text that is a volume's name or an ID
};

// Throws UsageError that says what a reference looks like. `volume`: the name of the volume being made, for auto.
Reference parse_reference(std::string_view text, const std::string& volume, const base::Zone& zone);

// The one that is meant. Nothing only for auto, and only when no host has a snapshot of the volume at all.
// Throws NotFound or Conflict (ambiguous), naming what there is. `snapshots`: oldest first.
std::optional<repo::Snapshot> resolve(const Reference& reference, const std::vector<repo::Snapshot>& snapshots,
                                      const std::string& own_host);

}  // namespace davit::jobs
