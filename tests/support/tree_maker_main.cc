// tree_maker DIRECTORY [SEED]: as root everything, else what a user may make. PLAIN=1 in the
// environment leaves out what restic 0.14 cannot bring back.
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string>

#include "support/tree_maker.h"

int main(int count, char** words) {
  if (count < 2) {
    std::fprintf(stderr, "usage: tree_maker DIRECTORY [SEED]\n");
    return 2;
  }
  davit::test::TreeSpec spec;
  if (count > 2) spec.seed = std::strtoull(words[2], nullptr, 10);
  spec.devices = spec.owners = spec.trusted_xattrs = ::geteuid() == 0;
  if (std::getenv("PLAIN")) {
    spec.odd_link_targets = spec.trusted_xattrs = false;
    spec.deep_levels = 3;
  }
  try {
    davit::test::make_tree(words[1], spec);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
  return 0;
}
