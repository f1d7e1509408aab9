#include "jobs/saving.h"

#include <utility>

#include "jobs/references.h"

namespace davit::jobs {

repo::UploadOptions upload_options(Context& context, const RepositoryAccess::Hold& hold, std::stop_token stop) {
  repo::UploadOptions options;
  options.pack_size_bytes = static_cast<uint32_t>(context.settings.number("RESTIC_PACK_SIZE")) << 20;
  options.stop = std::move(stop);
  options.reserve = [&context](uint64_t bytes) {
    return context.upload.reserve(bytes, std::chrono::steady_clock::now());
  };
  options.before_first_pack = [&hold] { hold.settle(); };
  return options;
}

repo::Snapshot new_snapshot(const Context& context, const PointMark& point, const std::string& path) {
  repo::Snapshot snapshot;
  snapshot.time = context.zoned(point.time);
  snapshot.paths = {path};
  snapshot.hostname = context.host();
  snapshot.username = "root";
  snapshot.tags = {kTagDavit, point_tag(point.id)};
  snapshot.program_version = "davit " + context.version;
  return snapshot;
}

repo::SnapshotSummary summarise(const Context& context, base::Time began, const repo::UploadCounts& counts) {
  repo::SnapshotSummary summary;
  summary.backup_start = context.zoned(began);
  summary.backup_end = context.zoned(context.clock.now());
  summary.data_blobs = counts.data_blobs;
  summary.tree_blobs = counts.tree_blobs;
  summary.data_added = counts.data_added_bytes;
  summary.data_added_packed = counts.data_added_packed_bytes;
  return summary;
}

}  // namespace davit::jobs
