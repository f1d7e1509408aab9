#include "archive/archiver.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <span>
#include <utility>

#include "archive/file_job.h"
#include "archive/file_reader.h"
#include "archive/frame.h"
#include "archive/kept_subtrees.h"
#include "archive/links.h"
#include "archive/look_ahead.h"
#include "archive/walk.h"
#include "base/bounded_queue.h"
#include "base/crew.h"
#include "base/errors.h"
#include "base/fault.h"
#include "base/files.h"
#include "capture/file_handle.h"
#include "crypto/sha256.h"
#include "crypto/sha256_lanes.h"

namespace davit::archive {

namespace {

// A waiting file keeps its directory open: this bounds descriptors.
constexpr size_t kWaitingBatches = 8;  // of kFilesInBatch
constexpr size_t kWaitingPieces = 256;

base::Id save_frame(const Source& source, const repo::Node& tree, const repo::Chunker& chunker,
                    repo::UploadSession& session) {
  Frame root;
  const std::vector<std::string> names = split_path(source.path);
  for (const ExtraFile& extra : source.extras) add_extra(root, extra, chunker, session);
  if (names.size() > 1 && source.parent >= 0) {
    const std::vector<std::string> above(names.begin(), names.end() - 1);
    Frame& parent = parent_of(root, above).directory(above.back());
    std::vector<std::string> problems;  // no part of the volume
    parent.node = make_node(above.back(), get_status(source.parent), 0);
    parent.node.xattrs = read_xattrs(source.parent, problems);
  }
  Frame& frame = parent_of(root, names).entries[names.back()];
  if (!frame.node.name.empty()) throw base::UsageError(source.path + " is an extra file, too");
  frame.node = tree;
  frame.node.name = names.back();
  return root.save(session);
}

// What decides what a tree comes to, beside the files: see repo/scan_cache.h. The number is of the
// way that nodes are made; another one makes every tree anew.
base::Id scan_context(const Source& source, const Options& options) {
  std::string text =
      (options.keeps_handles ? "1 with handles\n" : "1\n") + std::to_string(source.device) + "\n";
  for (const std::string& line : options.excludes.lines()) text += line + "\n";
  return crypto::sha256(base::as_bytes(text));
}

repo::NodeTime now(const base::Clock* clock) {
  const auto time = (clock ? clock->now() : base::SystemClock().now()).time_since_epoch();
  const auto seconds = std::chrono::floor<std::chrono::seconds>(time);
  return {seconds.count(), static_cast<uint32_t>((time - seconds).count())};
}

// Hashing several that are there already is faster than one after another, the more so the less
// their lanes differ in length: more than there are lanes, the longest first.
void save_pieces(Stages& stages) {
  constexpr size_t kAtOnce = 6;
  std::vector<Piece> some;
  std::vector<base::ByteView> bytes;
  std::vector<base::Id> ids;
  while (auto first = stages.pieces.pop()) {
    stages.check_stop();
    some.push_back(std::move(*first));
    while (some.size() < kAtOnce) {
      auto next = stages.pieces.try_pop();
      if (!next) break;
      some.push_back(std::move(*next));
    }
    std::sort(some.begin(), some.end(), [](const Piece& a, const Piece& b) {
      return a.part.bytes.size() > b.part.bytes.size();
    });
    bytes.clear();
    for (const Piece& piece : some) bytes.push_back(piece.part.bytes);
    ids.resize(bytes.size());
    crypto::sha256_each(bytes, ids);
    stages.session.save_blobs(repo::BlobType::data, ids, bytes);
    for (size_t i = 0; i < some.size(); ++i) {
      some[i].file->set(some[i].index, ids[i]);
      stages.assembly.add_progress(bytes[i].size());
      release(stages, *some[i].file);
    }
    some.clear();
  }
}

// Null where all of it is for the walk to look at.
std::unique_ptr<const KeptSubtrees> find_kept(const repo::Repository& repository, Prior& prior,
                                              const base::Descent::Handle& root,
                                              const Options& options, uint64_t& looked_ahead) {
  // Where it is to be found out what the kernel did not tell, or records are to get their handles,
  // the walk does it.
  if (!prior.cache() || (!options.changed && options.keeps_handles)) return nullptr;
  auto scan = prior.cache()->open_kept();
  if (!scan) return nullptr;
  if (options.changed) {
    // Another directory, of the same entries even, as a snapshot of btrfs is, has other handles.
    if (scan->outline.directories[0].handle != capture::find_handle(root->get())) return nullptr;
    return std::make_unique<const KeptSubtrees>(std::move(scan), *options.changed);
  }
  try {
    LookedAhead looked = look_ahead(repository, *scan, root, options.stop);
    looked_ahead = looked.looked_at;
    return std::make_unique<const KeptSubtrees>(std::move(scan), std::move(looked.changed));
  } catch (const base::Corrupt&) {  // the walk sees how far it is good
    return nullptr;
  }
}

}  // namespace

Result archive_tree(repo::Repository& repository, repo::UploadSession& session,
                    const Source& source, const Options& options) {
  const std::vector<std::string> names = split_path(source.path);
  const base::Id context = scan_context(source, options);
  std::unique_ptr<repo::ScanCacheWriter> cache;
  if (!options.scan_cache_path.empty())
    cache = std::make_unique<repo::ScanCacheWriter>(
        options.scan_cache_path + ".new", repository.id(), context, /*with_outline=*/true);
  const auto prior =
      open_prior(repository, options.scan_cache_path, context, options.parent, names);

  const repo::NodeTime begun_at = now(options.clock);
  const auto root = std::make_shared<const base::Fd>(base::duplicate(source.directory));
  uint64_t looked_ahead = 0;
  const auto kept = cache ? find_kept(repository, *prior, root, options, looked_ahead) : nullptr;

  const unsigned processors = base::processor_count();
  Assembly assembly(session, cache.get(), options.progress);
  LinkTable links(assembly);
  PendingFiles pending;
  const unsigned large_at_once = std::max(1u, processors / 4);
  Slabs slabs(large_at_once);
  LargeFiles large_files(slabs, large_at_once);
  base::BoundedQueue<std::vector<FileJob>> files(kWaitingBatches);
  base::BoundedQueue<Piece> pieces(kWaitingPieces);
  Stages stages{repository, session, assembly, links,    pending,     large_files,
                files,      pieces,  root,     begun_at, options.stop};

  base::Crew crew([&] {
    files.stop();
    pieces.stop();
    slabs.stop();
  });
  std::atomic<unsigned> readers{processors};
  crew.start("walk", [&] {
    walk_tree(stages, source, options, *prior, kept.get());
    files.close();
  });
  for (unsigned i = 0; i < processors; ++i)
    crew.start("read", [&] {
      FileReader reader(stages);
      while (auto batch = files.pop()) {
        for (FileJob& job : *batch) reader.read(std::move(job));
        reader.save_small();
      }
      if (readers.fetch_sub(1) == 1) pieces.close();
    });
  for (unsigned i = 0; i < processors; ++i) crew.start("seal", [&] { save_pieces(stages); });
  crew.join();
  // From here on every directory of the tree is saved.

  Result result = std::move(assembly.result());
  result.looked_at += looked_ahead;
  result.holds_overlays = kept && kept->holds_overlays();
  result.tree = save_frame(source, assembly.root(), repository.chunker(), session);
  if (cache) cache->finish(result.tree);
  base::fault_point("archive:done");
  return result;
}

void commit_scan_cache(const std::string& scan_cache_path) {
  const std::string prepared = scan_cache_path + ".new";
  if (::rename(prepared.c_str(), scan_cache_path.c_str()) != 0) {
    const int number = errno;
    if (number == ENOENT) return;
    base::throw_errno("cannot rename to " + scan_cache_path, number);
  }
  base::fault_point("scan_cache:renamed");
  const size_t slash = scan_cache_path.rfind('/');
  base::sync_directory(slash == std::string::npos ? "." : scan_cache_path.substr(0, slash));
}

}  // namespace davit::archive
