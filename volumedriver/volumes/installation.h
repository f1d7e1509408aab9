// Whose data directory this is. The installation's ID lies in DATA/installation and, for a managed
// plugin, also in a second directory that outlives an upgrade (its propagated mount): an upgrade
// silently puts a changed mount source back, and a daemon that then answered would tell the engine
// that every volume is gone. It also makes sure that one daemon at a time works on a data
// directory.
//
// Create it first and keep it as long as the daemon runs; the lock goes with the object, or the
// process.
#pragma once

#include <string>

#include "base/errors.h"
#include "base/fd.h"

namespace davit::volumes {

// This data directory is not the one that this installation used before. Answer no engine's call
// then.
class MisplacedData : public base::Conflict {
 public:
  using Conflict::Conflict;
};

class Installation {
 public:
  // `second_directory`: "" where there is none. `who` tells a person about this daemon ("process
  // 4711 on host db1"). Throws Conflict naming the other daemon when one has the directory, and
  // MisplacedData saying what to do. Where only the second directory knows nothing (a plugin that
  // was removed and installed again), it is told.
  Installation(const std::string& data_directory, const std::string& second_directory,
               const std::string& who);

  const std::string& id() const { return id_; }  // a UUID
  bool is_new() const { return is_new_; }        // nothing was here before

 private:
  base::Fd lock_;
  std::string id_;
  bool is_new_ = false;
};

}  // namespace davit::volumes
