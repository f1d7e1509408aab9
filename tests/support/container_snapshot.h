// A container's snapshot as a commit leaves it, of a container that need not exist: its inspect document is given.
#pragma once

#include <string>
#include <vector>

#include "repo/repository.h"
#include "support/fake_engine.h"
#include "support/rooms.h"

namespace davit::test {

struct SavedContainerOptions {
  std::string name = "web";
  std::string inspect = {};                  // container.json; "": none
  std::vector<std::string> networks = {};    // inspect documents
  std::string point = "0123456789abcdef";
  std::string engine = "docker";
  std::string layer = "layer";               // of its image
  bool with_image = true;
};
// Its ID. The image was named davit/NAME:20261122T180000Z and is in no engine.
std::string save_container(Rooms& rooms, const SavedContainerOptions& options);
// The same reference, as the engine has it after a restore.
std::string saved_reference(const std::string& name = "web");

// Marks a volume's newest snapshot as a piece of the point: a new snapshot of the same tree, whose ID it returns.
std::string put_into_point(Rooms& rooms, const std::string& volume, const std::string& point = "0123456789abcdef");

}  // namespace davit::test
