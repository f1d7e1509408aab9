// The mirrors of the repository as a table, and below it what is wrong with each.
#pragma once

#include <string>

#include "cli/table.h"
#include "cli/view.h"

namespace davit::cli {

class MirrorTable {
 public:
  void add(const Json& message, const Screen& screen);
  // "" where there are none.
  std::string render(const Screen& screen) const;
  bool empty() const { return table_.empty(); }

 private:
  Table table_{{{"MIRROR"}, {"STATE"}, {"IN SYNC"}, {"BEHIND"}, {"NOTE"}}};
  std::string notes_;
};

}  // namespace davit::cli
