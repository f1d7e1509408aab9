// The directory that holds one volume's data: a subvolume on btrfs, so that a still picture of it
// costs nothing; a plain directory elsewhere. Any thread.
#pragma once

#include <functional>
#include <string>

namespace davit::volumes {

// Makes an empty one, 0755 and owned by us, as the engines' own driver does: from an empty
// directory they take over owner, mode and content of the image's. `path` must not exist. Synced.
void make_volume_directory(const std::string& path);
// Removes it with everything in it; no such directory is no error. `stop` true ends it early, with
// the rest still there.
void delete_volume_directory(const std::string& path, const std::function<bool()>& stop = {});

}  // namespace davit::volumes
