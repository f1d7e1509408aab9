#include "jobs/mirror_removals.h"

#include <utility>

namespace davit::jobs {

void MirrorRemovals::note(const store::Name& name) {
  if (name.kind == store::Kind::index || name.kind == store::Kind::data) {
    // Whoever comes second waits until it is noted, too.
    auto prune = prune_.lock();
    if (*prune) {
      for (const auto& place : places_) book_.journal(place)->add_prune(**prune);
      prune->reset();
    }
  }
  for (const auto& place : places_) book_.journal(place)->add(name);
}

std::shared_ptr<void> MirrorRemovals::begin_prune(std::vector<base::Id> snapshots) {
  *prune_.lock() = std::move(snapshots);
  return {nullptr, [self = shared_from_this()](void*) { self->prune_.lock()->reset(); }};
}

}  // namespace davit::jobs
