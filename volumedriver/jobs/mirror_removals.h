// What is removed from a repository while it is open with mirrors, noted for those mirrors: also
// where the settings name others by then. Any thread may call anything.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/synchronized.h"
#include "jobs/mirror_book.h"

namespace davit::jobs {

class MirrorRemovals : public std::enable_shared_from_this<MirrorRemovals> {
 public:
  // `book` outlives it.
  MirrorRemovals(MirrorBook& book, std::vector<std::string> places)
      : book_(book), places_(std::move(places)) {}

  // Before a file goes; durable when it returns. The first index or pack of a prune takes the note of
  // that prune with it: one that fails before has removed nothing, and is no prune.
  void note(const store::Name& name);
  // While the result lives a prune is at work that leaves nothing but what these snapshots need.
  std::shared_ptr<void> begin_prune(std::vector<base::Id> snapshots);

 private:
  MirrorBook& book_;
  const std::vector<std::string> places_;
  base::Synchronized<std::optional<std::vector<base::Id>>> prune_;  // of one that has removed nothing
};

}  // namespace davit::jobs
