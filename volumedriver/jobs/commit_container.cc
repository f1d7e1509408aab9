#include "jobs/commit_container.h"

#include <algorithm>
#include <atomic>
#include <nlohmann/json.hpp>

#include "archive/image_stream.h"
#include "base/bounded_queue.h"
#include "base/crew.h"
#include "base/errors.h"
#include "base/fault.h"
#include "base/log.h"
#include "jobs/backup_volume.h"
#include "jobs/either_stop.h"
#include "jobs/labels.h"
#include "jobs/point_plan.h"
#include "jobs/quorum.h"
#include "jobs/references.h"
#include "jobs/saving.h"

namespace davit::jobs {

using nlohmann::json;

namespace {

// Between the engine and the archiver: 4 MiB in parts of this size.
constexpr size_t kPartBytes = 128 << 10;
constexpr size_t kPartsWaiting = 32;

engine::ContainerDetails find_container(engine::Engine& engine, const CommitJobRequest& request) {
  try {
    return engine.inspect_container(request.container_id);
  } catch (const base::NotFound&) {
  }
  try {
    auto details = engine.inspect_container(request.container);
    spdlog::info("container {} was made anew since its backup was planned: the new one is saved", request.container);
    return details;
  } catch (const base::NotFound&) {
    throw base::NotFound("the container " + request.container + " is gone");
  }
}

base::Bytes to_bytes(const std::string& text) { return base::to_bytes(base::as_bytes(text)); }

// Networks that somebody made; the engine's own ones are everywhere.
bool is_user_defined(const std::string& network) {
  for (const char* own : {"bridge", "host", "none", "podman", "default"})
    if (network == own) return false;
  return true;
}

// What is nice to have: a failure is told, and the rest is saved.
void add_if_there(std::vector<archive::ExtraFile>& files, const char* name, BackupOutcome& outcome,
                  const std::function<std::string()>& ask) {
  try {
    files.push_back({name, to_bytes(ask())});
  } catch (const base::Error& error) {
    outcome.problems.push_back(std::string(name) + " is missing: " + error.what());
  }
}

std::string networks_of(engine::Engine& engine, const engine::ContainerDetails& details) {
  std::string all;
  for (const auto& name : details.networks) {
    if (!is_user_defined(name)) continue;
    if (const auto network = engine.find_network(name)) all += (all.empty() ? "" : ",\n") + *network;
  }
  return "[" + all + "]\n";
}

std::vector<std::string> davit_volumes(const Context& context, const std::vector<engine::VolumeMount>& mounts) {
  std::set<std::string> known;
  for (const auto& volume : context.registry.list()) known.insert(volume.name);
  engine::Container container;
  container.volumes = mounts;
  return volumes_of(container, known);
}

std::string describe(engine::Engine& engine, const engine::ContainerDetails& details, const CommitEntry& entry,
                     const PointMark& point, const std::vector<std::string>& volumes) {
  const auto info = engine.info();
  const json file = {{"version", 1},
                     {"engine", info.kind == engine::Kind::podman ? "podman" : "docker"},
                     {"engine_version", info.version},
                     {"api_version", info.api_version},
                     {"image", entry.reference},
                     {"image_id", entry.image_id},
                     {"original_image", details.image},
                     {"point", point.id},
                     {"time", base::format_utc(point.time)},
                     {"volumes", volumes}};
  return file.dump(1, ' ', false, json::error_handler_t::replace) + "\n";
}

// The engine writes, the archiver reads; the first failure of either ends both and is thrown.
archive::ImageStreamResult save_image(engine::Engine& engine, repo::Repository& repository, repo::UploadSession& session,
                                      const archive::ContainerFiles& files, const std::string& reference,
                                      std::stop_token stop, base::Progress& progress) {
  base::BoundedQueue<base::Bytes> parts(kPartsWaiting);
  std::atomic<bool> complete{false};
  std::stop_source unwanted;
  const EitherStop either(stop, unwanted.get_token());
  base::Crew crew([&] { parts.stop(); });
  crew.start("save image", [&] {
    base::Bytes part;
    const auto flush = [&] {
      if (part.empty()) return;
      if (!parts.push(std::move(part))) throw base::Cancelled();
      part = {};
    };
    engine.save_image(reference, [&](base::ByteView bytes) {
      // Without growing: a larger part would be copied anew for each piece that comes in.
      if (part.size() + bytes.size() > kPartBytes) flush();
      part.reserve(std::max(kPartBytes, bytes.size()));
      base::append(part, bytes);
    }, either.get());
    flush();
    complete = true;
    parts.close();
  });
  const auto next = [&]() -> base::Bytes {
    if (auto part = parts.pop()) return std::move(*part);
    if (!complete) crew.join();  // throws why
    return {};
  };
  archive::ImageStreamResult result;
  try {
    result = archive::archive_container(repository, session, files, next, {.progress = &progress, .stop = stop});
  } catch (...) {
    unwanted.request_stop();
    parts.stop();
    throw;  // an engine's own failure has come through `next`
  }
  crew.join();
  return result;
}

BackupOutcome run(Context& context, Commits& commits, const CommitJobRequest& request,
                  const RepositoryAccess::Hold& hold, Job& job) {
  const base::Time began = context.clock.now();
  engine::Engine& engine = *context.engine;
  const auto& repository = hold.repository();
  const EitherStop stop(job.stop.get_token(), hold.lost());
  job.set_phase("reading the index");
  repository->refresh_index();

  job.set_phase("asking the engine");
  const engine::ContainerDetails details = find_container(engine, request);
  BackupOutcome outcome;
  outcome.container = details.name;
  outcome.point = request.point.id;
  outcome.consistency = details.running ? "paused" : "stopped";
  const auto volumes = davit_volumes(context, details.volumes);
  archive::ContainerFiles files;
  files.name = details.name;
  files.time = request.point.time;
  files.files.push_back({"container.json", to_bytes(details.json)});
  add_if_there(files.files, "networks.json", outcome, [&] { return networks_of(engine, details); });
  if (details.running) add_if_there(files.files, "top.json", outcome, [&] { return engine.top(details.id); });
  add_if_there(files.files, "changes.json", outcome, [&] { return engine.changes(details.id); });
  if (stop.get().stop_requested()) throw base::Cancelled();

  job.set_phase("committing");
  const ImageName name = commits.reserve_name(details.name, request.point.time);
  CommitEntry entry{.uuid = "",
                    .container_id = details.id,
                    .container = details.name,
                    .started_at = details.started_at,
                    .was_running = details.running,
                    .was_paused = details.paused,
                    .reference = name.reference(),
                    .point = request.point.id,
                    .begun = began,
                    .image_id = ""};
  try {
    entry = commits.begin(entry);
  } catch (...) {
    commits.release_name(entry.reference);
    throw;
  }
  try {
    base::fault_point("commit:journalled");
    const std::string image_id = engine.commit(
        {.container_id = details.id,
         .repository = name.repository,
         .tag = name.tag,
         .labels = {{kLabelPoint, request.point.id},
                    {kLabelContainer, details.name},
                    {kLabelImage, details.image},
                    {kLabelHost, context.host()}},
         .pause = details.running && !details.paused,
         .comment = "davit, point " + request.point.id},
        stop.get());
    base::fault_point("commit:committed");
    commits.note_image(entry, image_id);
    base::fault_point("commit:noted");
    files.files.push_back({"davit.json", to_bytes(describe(engine, details, entry, request.point, volumes))});

    job.set_phase("saving");
    repo::UploadSession session(*repository, upload_options(context, hold, stop.get()));
    const auto result =
        save_image(engine, *repository, session, files, entry.reference, stop.get(), job.progress);
    session.finish();
    base::fault_point("commit:saved");
    hold.check();
    if (job.stop.stop_requested()) throw base::Cancelled();

    const std::string path = kContainersPath + details.name;
    repo::Snapshot snapshot = new_snapshot(context, request.point, path);
    snapshot.parent = find_parent(*repository, context.host(), path);
    snapshot.tree = result.tree;
    for (const auto& volume : volumes) snapshot.tags.push_back(volume_tag(volume));
    repo::SnapshotSummary summary = summarise(context, began, session.counts());
    summary.files_new = result.files;
    summary.total_files_processed = result.files;
    summary.total_bytes_processed = result.bytes;
    snapshot.summary = summary;
    outcome.snapshot = repository->save_snapshot(snapshot).hex();
    outcome.summary = summary;
    base::fault_point("commit:stored");
  } catch (...) {
    job.set_phase("taking the commit back");
    commits.settle(entry);
    throw;
  }
  // Stored, whatever becomes of the rest.
  const auto wishes = read_labels(details.labels, details.name, [](const auto&, const auto&) {});
  try {
    if (wishes.keep_images > 0) commits.keep(entry, request.point.time);
  } catch (const base::Error& error) {
    outcome.problems.push_back("the image " + entry.reference + " is not kept: " + error.what());
  }
  job.set_phase("removing the image");
  if (!commits.settle(entry))
    outcome.problems.push_back("the image " + entry.reference + " is still to be removed from the engine");
  try {
    commits.trim_kept(details.name, wishes.keep_images);
  } catch (const base::Error& error) {
    outcome.problems.push_back(std::string("older images that were kept stay in the engine: ") + error.what());
  }
  base::fault_point("commit:settled");
  outcome.seconds = job.seconds();
  return outcome;
}

}  // namespace

BackupOutcome commit_container(Context& context, Commits& commits, const CommitJobRequest& request, Job& job) {
  if (context.engine == nullptr) throw base::IoError("no engine can be asked: set DOCKER_HOST", 0);
  std::unique_ptr<RepositoryAccess::Hold> hold;
  try {
    hold = context.repository.hold_shared(job.stop.get_token(), [&](const std::string& why) { job.set_phase(why); });
    auto outcome = run(context, commits, request, *hold, job);
    spdlog::info("saved container {} as {}: {}, {} new", outcome.container, outcome.snapshot.substr(0, 8),
                 base::human_size(outcome.summary.total_bytes_processed),
                 base::human_size(outcome.summary.data_added_packed));
    if (request.after) {
      job.set_phase("applying retention");
      request.after(*hold, outcome);
    }
    hold.reset();
    wait_for_quorum(context, outcome.snapshot, [&](const std::string& why) { job.set_phase(why); }, job.stop.get_token());
    return outcome;
  } catch (const base::Cancelled&) {
    if (!job.stop.stop_requested() && hold) hold->check();  // that was why
    throw;
  }
}

}  // namespace davit::jobs
