// What restores of containers are making right now: DATA/state/restores/UUID.json, one file each, written before
// anything is made and removed when all is made. What stands here when nothing makes it is half a restore.
//
// Each call that makes something in the engine is noted before it is sent, and that it was answered: an engine goes on
// with what it was asked by a davit that is dead by now, or that did not wait any longer.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"

namespace davit::jobs {

struct RestoreEntry {
  struct Volume {
    std::string name, snapshot;  // hex ID that it is made from
  };
  struct Replaced {
    std::string name, safety;    // hex ID of what was in it before
  };
  std::string uuid;              // of this restore; networks that it makes carry it as a label
  std::string container;         // its name
  std::string image;             // reference
  std::string point = {};        // which the image carries as a label
  bool loads_image = false;      // false: the engine had it before
  std::vector<std::string> networks = {};  // that are made
  std::vector<Volume> volumes = {};        // that are made
  std::vector<Replaced> replaced = {};     // noted right before each
  enum class Asked : uint8_t { nothing, image, network, volume, container };
  Asked asked = Asked::nothing;  // what the engine has not answered
  std::string asked_name = {};   // of the network or volume
  base::Time asked_at{};
  std::string container_id = {}; // once it is known
  bool undone = false;           // all but an image that may still come
};

class RestoreJournal {
 public:
  explicit RestoreJournal(const std::string& data_directory);
  void write(const RestoreEntry& entry) const;   // durable
  void remove(const std::string& uuid) const;    // durable
  // Removes what writes left half done that a kill ended; before the first write.
  void tidy() const;
  std::optional<RestoreEntry> find(const std::string& uuid) const;
  // Those that can be read; others are logged and stay.
  std::vector<RestoreEntry> list() const;

 private:
  const std::string directory_;
};

}  // namespace davit::jobs
