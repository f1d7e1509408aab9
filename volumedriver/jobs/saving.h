// What saving a volume and saving a container have in common.
#pragma once

#include <optional>
#include <stop_token>
#include <string>

#include "jobs/context.h"
#include "jobs/points.h"
#include "repo/snapshot.h"
#include "repo/upload.h"

namespace davit::jobs {

// Nothing gets into the repository before `hold` has settled.
repo::UploadOptions upload_options(Context& context, const RepositoryAccess::Hold& hold, std::stop_token stop);

// A piece of `point`, of this host and program, with the tags that every one has; tree and summary are the caller's.
repo::Snapshot new_snapshot(const Context& context, const PointMark& point, const std::string& path);

// When it was made and what it added; the files are the caller's.
repo::SnapshotSummary summarise(const Context& context, base::Time began, const repo::UploadCounts& counts);

}  // namespace davit::jobs
