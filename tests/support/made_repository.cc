#include "support/made_repository.h"

#include <algorithm>

#include "repo/tree.h"

namespace davit::test {

namespace {

base::Id save_directory(repo::UploadSession& session, Files::const_iterator begin,
                        Files::const_iterator end, size_t prefix, size_t piece_bytes) {
  repo::TreeEncoder tree;
  while (begin != end) {
    const std::string& path = begin->first;
    const size_t slash = path.find('/', prefix);
    repo::Node node;
    node.name = path.substr(prefix, slash == std::string::npos ? slash : slash - prefix);
    node.mtime = node.atime = node.ctime = {1'700'000'000, 0};
    if (slash == std::string::npos) {
      node.type = repo::NodeType::file;
      node.mode = repo::go_mode(S_IFREG | 0644);
      node.links = 1;
      node.size = begin->second.size();
      const base::ByteView content = base::as_bytes(begin->second);
      for (size_t at = 0; at < content.size(); at += piece_bytes)
        node.content.push_back(
            session
                .save_blob(repo::BlobType::data,
                           content.subspan(at, std::min(piece_bytes, content.size() - at)))
                .id);
      ++begin;
    } else {
      node.type = repo::NodeType::dir;
      node.mode = repo::go_mode(S_IFDIR | 0755);
      const std::string inside = path.substr(0, slash + 1);
      auto last = begin;
      while (last != end && last->first.starts_with(inside)) ++last;
      node.subtree = save_directory(session, begin, last, slash + 1, piece_bytes);
      begin = last;
    }
    tree.add(node);
  }
  const base::Bytes bytes = tree.finish();
  return session.save_blob(repo::BlobType::tree, bytes).id;
}

void read_directory(repo::Repository& repository, const base::Id& tree, const std::string& prefix,
                    Files& into) {
  for (const auto& node : repo::parse_tree(repository.load_blob(repo::BlobType::tree, tree))) {
    if (node.subtree) read_directory(repository, *node.subtree, prefix + node.name + "/", into);
    if (node.type != repo::NodeType::file) continue;
    std::string& content = into[prefix + node.name];
    for (const base::Id& id : node.content)
      content += base::as_text(repository.load_blob(repo::BlobType::data, id));
  }
}

}  // namespace

std::string noise(uint64_t seed, size_t size_bytes) {
  std::string bytes(size_bytes, '\0');
  uint64_t state = seed * 0x9e3779b97f4a7c15 + 1;
  for (char& byte : bytes) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    byte = static_cast<char>(state >> 32);
  }
  return bytes;
}

repo::UploadOptions packs_of(uint32_t size_bytes) {
  repo::UploadOptions options;
  options.pack_size_bytes = size_bytes;
  return options;
}

base::Id save_trees(repo::UploadSession& session, const Files& files, size_t piece_bytes) {
  return save_directory(session, files.begin(), files.end(), 0, piece_bytes);
}

base::Id save_files(repo::Repository& repository, const Files& files, repo::UploadOptions options,
                    size_t piece_bytes) {
  repository.refresh_index();
  repo::UploadSession session(repository, options);
  repo::Snapshot snapshot;
  snapshot.tree = save_trees(session, files, piece_bytes);
  session.finish();
  static int64_t seconds = 1'700'000'000;
  snapshot.time.time = base::Time(std::chrono::seconds(++seconds));
  snapshot.paths = {"/volumes/made"};
  snapshot.hostname = "made";
  return repository.save_snapshot(snapshot);
}

Files read_files(repo::Repository& repository, const base::Id& snapshot) {
  Files files;
  read_directory(repository, repository.load_snapshot(snapshot).tree, "", files);
  return files;
}

std::vector<base::Id> ids_of(store::Store& store, store::Kind kind) {
  std::vector<base::Id> ids;
  store.list(kind, [&](const store::FileInfo& file) { ids.push_back(file.id); });
  std::sort(ids.begin(), ids.end());
  return ids;
}

uint64_t bytes_of(store::Store& store, store::Kind kind) {
  uint64_t bytes = 0;
  store.list(kind, [&](const store::FileInfo& file) { bytes += file.size_bytes; });
  return bytes;
}

}  // namespace davit::test
