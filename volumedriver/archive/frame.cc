#include "archive/frame.h"

#include <sys/stat.h>

#include <algorithm>

#include "base/errors.h"

namespace davit::archive {

Frame& Frame::directory(const std::string& name) {
  Frame& frame = entries[name];
  if (frame.node.name.empty()) {
    frame.node.name = name;
    frame.node.type = repo::NodeType::dir;
    frame.node.mode = repo::go_mode(S_IFDIR | 0700);
  }
  return frame;
}

base::Id Frame::save(repo::UploadSession& session) {
  repo::TreeEncoder encoder;
  for (auto& [name, frame] : entries) {
    if (frame.node.type == repo::NodeType::dir && !frame.node.subtree)
      frame.node.subtree = frame.save(session);
    encoder.add(frame.node);
  }
  return session.save_blob(repo::BlobType::tree, encoder.finish()).id;
}

std::vector<std::string> split_path(const std::string& path) {
  std::vector<std::string> names;
  if (path.empty() || path[0] != '/') throw base::UsageError("not an absolute path: " + path);
  for (size_t from = 1; from <= path.size();) {
    const size_t slash = std::min(path.find('/', from), path.size());
    names.push_back(path.substr(from, slash - from));
    if (!repo::is_valid_name(names.back()))
      throw base::UsageError("not a path that a snapshot can have: " + path);
    from = slash + 1;
  }
  return names;
}

Frame& parent_of(Frame& root, const std::vector<std::string>& names) {
  Frame* at = &root;
  for (size_t i = 0; i + 1 < names.size(); ++i) at = &at->directory(names[i]);
  return *at;
}

Frame& add_extra(Frame& root, const ExtraFile& extra, const repo::Chunker& chunker,
                 repo::UploadSession& session) {
  const std::vector<std::string> names = split_path(extra.path);
  Frame& frame = parent_of(root, names).entries[names.back()];
  if (!frame.node.name.empty()) throw base::UsageError(extra.path + " is in the snapshot already");
  frame.node.name = names.back();
  frame.node.mode = repo::go_mode(S_IFREG | 0600);
  frame.node.size = extra.bytes.size();
  frame.node.links = 1;
  for (base::ByteView rest = extra.bytes; !rest.empty();) {
    const size_t cut = chunker.next_cut(rest.first(std::min(rest.size(), repo::kMaxChunk)),
                                        rest.size() <= repo::kMaxChunk);
    frame.node.content.push_back(session.save_blob(repo::BlobType::data, rest.first(cut)).id);
    rest = rest.subspan(cut);
  }
  return frame;
}

}  // namespace davit::archive
