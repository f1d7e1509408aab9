// What restores of containers are making right now: DATA/state/restores/UUID.json, one file each, written before
// anything is made and removed when all is made. What stands here when nothing makes it is half a restore.
#pragma once

#include <string>
#include <vector>

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
  bool loads_image = false;      // false: the engine had it before
  std::vector<std::string> networks;   // that are made
  std::vector<Volume> volumes;         // that are made
  std::vector<Replaced> replaced;      // noted right before each
};

class RestoreJournal {
 public:
  explicit RestoreJournal(const std::string& data_directory);
  void write(const RestoreEntry& entry) const;   // durable
  void remove(const std::string& uuid) const;    // durable
  // Those that can be read; others are logged and stay.
  std::vector<RestoreEntry> list() const;

 private:
  const std::string directory_;
};

}  // namespace davit::jobs
