// Which volumes and containers are saved together. Pure.
//
// A container asks to be committed with the label davit.commit=true, or the setting DAVIT_COMMIT=all asks for it;
// davit.commit=false refuses either. A committed container and the volumes of davit that it uses belong together, and so
// do all that are connected in this way: two databases behind one application are of one moment.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "engine/engine.h"

namespace davit::jobs {

inline constexpr const char* kLabelPrefix = "davit.";
inline constexpr const char* kLabelCommit = "davit.commit";

enum class CommitMode : uint8_t { none, labelled, all };
// "none", "labelled" or "all"; throws UsageError.
CommitMode parse_commit_mode(const std::string& text);

bool is_committed(const engine::Container& container, CommitMode mode);
// Those of `volumes` that it uses, by name, each once.
std::vector<std::string> volumes_of(const engine::Container& container, const std::set<std::string>& volumes);

struct PointPlan {
  struct Container {
    std::string id, name;
    bool operator==(const Container&) const = default;
  };
  std::vector<std::string> volumes;
  std::vector<Container> containers;
};
// What belongs to a volume: itself, and all that it is connected with. `volumes`: those that may be saved.
PointPlan plan_around_volume(const std::string& volume, const std::vector<engine::Container>& containers,
                             const std::set<std::string>& volumes, CommitMode mode);
// What belongs to a container, which is committed whatever its labels say: somebody asked for it.
PointPlan plan_around_container(const std::string& container_id, const std::vector<engine::Container>& containers,
                                const std::set<std::string>& volumes, CommitMode mode);

}  // namespace davit::jobs
