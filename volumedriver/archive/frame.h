// The part of a snapshot's tree that is held in memory whole: the few directories above a volume,
// or a container with the members of its image; and the extra files.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "archive/archiver.h"
#include "repo/chunker.h"
#include "repo/tree.h"
#include "repo/upload.h"

namespace davit::archive {

struct Frame {
  repo::Node node;
  // In the order that trees need: char_traits compare as unsigned.
  std::map<std::string, Frame, std::less<>> entries;

  // The entry of that name, made where there is none: a directory with mode 0700 and no times.
  Frame& directory(const std::string& name);
  // Saves the trees beneath, and returns this one's ID. What has a subtree already keeps it.
  // As deep on the stack as the frame is.
  base::Id save(repo::UploadSession& session);
};

// The components of "/volumes/NAME". Throws UsageError.
std::vector<std::string> split_path(const std::string& path);
// The directory that holds what `names` leads to; made where it is not there.
Frame& parent_of(Frame& root, const std::vector<std::string>& names);
// Saves the content; the node is a file with mode 0600. Throws UsageError where the name is taken.
Frame& add_extra(Frame& root, const ExtraFile& extra, const repo::Chunker& chunker,
                 repo::UploadSession& session);

}  // namespace davit::archive
