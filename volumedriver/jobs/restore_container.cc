#include "jobs/restore_container.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/bytes.h"
#include "base/errors.h"
#include "base/fault.h"
#include "base/log.h"
#include "jobs/container_plan.h"
#include "jobs/either_stop.h"
#include "jobs/load_image.h"
#include "jobs/network_spec.h"

namespace davit::jobs {

using namespace std::chrono_literals;
using nlohmann::json;
using Action = VolumeStep::Action;

namespace {

// How long a container is watched that was started: what fails at once fails within this.
constexpr auto kWatched = 1500ms, kLook = 100ms;
// What compose looks for in a volume of its own.
constexpr const char *kComposeProject = "com.docker.compose.project", *kComposeVolume = "com.docker.compose.volume";

std::string short_id(const std::string& hex) { return hex.substr(0, 8); }

RestoreContainerOutcome describe(const ContainerPlan& plan, bool dry_run) {
  RestoreContainerOutcome outcome;
  outcome.container = plan.name;
  outcome.saved_name = plan.saved_name;
  outcome.snapshot = plan.snapshot.id.hex();
  outcome.point = plan.record.point;
  outcome.image = plan.image;
  outcome.time = plan.snapshot.time.time;
  outcome.image_loaded = plan.loads_image;
  for (const VolumeStep& step : plan.volumes)
    outcome.volumes.push_back({step.name, step.saved_name, action_name(step.action), step.snapshot, ""});
  for (const auto& [name, body] : plan.networks) outcome.networks.push_back(name);
  outcome.conflicts = plan.conflicts;
  outcome.notes = plan.notes;
  outcome.dry_run = dry_run;
  return outcome;
}

RestoreEntry entry_of(const ContainerPlan& plan, const std::string& uuid) {
  RestoreEntry entry;
  entry.uuid = uuid;
  entry.container = plan.name;
  entry.image = plan.image;
  entry.loads_image = plan.loads_image;
  for (const auto& [name, body] : plan.networks) entry.networks.push_back(name);
  for (const VolumeStep& step : plan.volumes)
    if (step.action == Action::make) entry.volumes.push_back({step.name, step.snapshot});
  return entry;
}

std::string volume_body(const ContainerPlan& plan, const VolumeStep& step) {
  json body = {{"Name", step.name}, {"Driver", plan.volume_driver}};
  if (step.action == Action::make) {
    body["DriverOpts"] = {{"from", step.snapshot}, {"images", "false"}};
    // As compose labels its volumes, or it would take this one for somebody else's.
    const auto project = plan.labels.find(kComposeProject);
    if (project != plan.labels.end() && step.name == step.saved_name && step.name.starts_with(project->second + "_"))
      body["Labels"] = {{kComposeProject, project->second},
                        {kComposeVolume, step.name.substr(project->second.size() + 1)}};
  }
  return body.dump();
}

class Restore {
 public:
  Restore(Context& context, const ContainerPlan& plan, RestoreEntry& entry, const VolumeWork& volumes, Job& job,
          RestoreContainerOutcome& outcome)
      : context_(context), engine_(*context.engine), plan_(plan), entry_(entry), volumes_(volumes), job_(job),
        outcome_(outcome), journal_(context.data_directory) {}

  void run(const repo::Repository& repository, std::stop_token lost) {
    journal_.write(entry_);
    base::fault_point("container:journal");
    outcome_.image_loaded = ensure_image(context_, repository, plan_.snapshot, job_, lost).loaded;
    base::fault_point("container:image");
    go_on(lost);
    make_networks();
    make_volumes();
    go_on(lost);
    make_container();
    replace_volumes();
    go_on(lost);
    // From here on it is whole.
    journal_.remove(entry_.uuid);
    base::fault_point("container:done");
  }

  void start() {
    try {
      job_.set_phase("starting");
      engine_.start_container(outcome_.id);
      const auto deadline = std::chrono::steady_clock::now() + kWatched;
      while (std::chrono::steady_clock::now() < deadline) {
        const auto details = engine_.inspect_container(outcome_.id);
        if (!details.running) {
          const json state = json::parse(details.json, nullptr, false).value("State", json::object());
          outcome_.start_error = "it ended at once, with exit code " + std::to_string(state.value("ExitCode", 0));
          return;
        }
        job_.pause(kLook);
      }
      outcome_.started = true;
    } catch (const base::NotFound&) {
      outcome_.start_error = "it ended at once and removed itself (it was made with --rm)";
    } catch (const base::Error& error) {
      outcome_.start_error = error.what();
    }
  }

 private:
  void go_on(const std::stop_token& lost) const {
    if (job_.stop.stop_requested()) throw base::Cancelled();
    if (lost.stop_requested()) throw base::IoError("the lock on the repository was lost: try again", 0, true);
  }

  void make_networks() {
    for (const auto& [name, body] : plan_.networks) {
      job_.set_phase("making network " + name);
      engine_.create_network(body);
      base::fault_point("container:network");
    }
  }

  // All are made before the first is waited for: they restore side by side.
  void make_volumes() {
    for (const VolumeStep& step : plan_.volumes) {
      if (step.action != Action::make && step.action != Action::adopt) continue;
      job_.set_phase("making volume " + step.name);
      engine_.create_volume(volume_body(plan_, step));
      base::fault_point("container:volume");
      if (!context_.registry.find(step.name))
        throw base::Conflict("the engine made the volume " + step.name + " with its driver " + plan_.volume_driver +
                             ", but it is none of this davit's");
    }
    for (const VolumeStep& step : plan_.volumes)
      if (step.action == Action::make) volumes_.wait(step.name, job_);
    base::fault_point("container:volumes");
  }

  void make_container() {
    job_.set_phase("making the container");
    outcome_.id = engine_.create_container(plan_.name, plan_.spec.body);
    base::fault_point("container:created");
    for (const auto& [network, body] : plan_.spec.connections) {
      engine_.connect_network(network, body);
      base::fault_point("container:connected");
    }
  }

  // Last, since most is lost where it fails after this.
  void replace_volumes() {
    for (size_t i = 0; i < plan_.volumes.size(); ++i) {
      const VolumeStep& step = plan_.volumes[i];
      if (step.action != Action::replace) continue;
      volumes_.replace(step.name, step.snapshot,
                       [&](const std::string& safety) {
                         entry_.replaced.push_back({step.name, safety});
                         journal_.write(entry_);
                         outcome_.volumes[i].safety_snapshot = safety;
                       },
                       job_);
      base::fault_point("container:replaced");
    }
  }

  Context& context_;
  engine::Engine& engine_;
  const ContainerPlan& plan_;
  RestoreEntry& entry_;
  const VolumeWork& volumes_;
  Job& job_;
  RestoreContainerOutcome& outcome_;
  const RestoreJournal journal_;
};

// ---- undoing

// False: it was used meanwhile, so somebody took it as it is.
bool undo_container(engine::Engine& engine, const RestoreEntry& entry) {
  try {
    const auto details = engine.inspect_container(entry.container);
    if (details.image != entry.image) return true;  // another one has the name by now
    const bool never_started = details.started_at.empty() || details.started_at.starts_with("0001-");
    if (details.running || !never_started) return false;
    engine.remove_container(details.id, false);
  } catch (const base::NotFound&) {
  }
  return true;
}

void undo_volume(Context& context, const RestoreEntry::Volume& made, const VolumeWork& volumes) {
  // The engine may still be at the create that a killed davit asked for, and ask its driver again. This waits for it.
  context.engine->find_volume(made.name);
  const auto volume = context.registry.find(made.name);
  const auto from = volume ? volume->requested.find("from") : volumes::OptionMap::const_iterator();
  if (!volume || from == volume->requested.end() || from->second != made.snapshot) return;  // none, or another one
  // What was just restored is in the repository: no last backup of it.
  context.registry.update(volume->uuid, [](volumes::Volume& record) { record.options["final-backup"] = "false"; });
  if (volume->state == volumes::State::restoring) volumes.cancel(volume->uuid);
  try {
    context.engine->remove_volume(made.name);
  } catch (const base::Conflict& error) {
    spdlog::warn("the volume {} of a restore that was given up is used by now, and stays: {}", made.name, error.what());
    return;
  }
  // An engine that had not noted it yet did not ask the driver to remove it.
  if (const auto left = context.registry.find_uuid(volume->uuid); left && left->state != volumes::State::removed)
    context.registry.remove(made.name, false);
}

void undo_network(engine::Engine& engine, const std::string& name, const std::string& uuid) {
  const auto network = engine.find_network(name);
  if (!network || read_network(*network).restore != uuid) return;
  try {
    engine.remove_network(name);
  } catch (const base::IoError&) {
    throw;
  } catch (const base::Error& error) {
    spdlog::warn("the network {} of a restore that was given up is used by now, and stays: {}", name, error.what());
  }
}

}  // namespace

void undo_container_restore(Context& context, const RestoreEntry& entry, const VolumeWork& volumes, Job& job) {
  if (context.engine == nullptr) throw base::IoError("no container engine is known: set DOCKER_HOST", 0);
  const RestoreJournal journal(context.data_directory);
  job.set_phase("undoing");
  if (!undo_container(*context.engine, entry)) {
    spdlog::warn("the restore of the container {} was cut off, but the container was started since: it stays", entry.container);
    journal.remove(entry.uuid);
    return;
  }
  base::fault_point("undo:container");
  for (const auto& replaced : entry.replaced) {
    const auto volume = context.registry.find(replaced.name);
    if (!volume || volume->state != volumes::State::ready) continue;
    try {
      volumes.replace(replaced.name, replaced.safety, [](const std::string&) {}, job);
    } catch (const base::IoError&) {
      throw;
    } catch (const base::Error& error) {
      spdlog::error("the volume {} cannot be put back ({}): what it held before is in the snapshot {}", replaced.name,
                    error.what(), short_id(replaced.safety));
    }
  }
  for (const auto& made : entry.volumes) undo_volume(context, made, volumes);
  base::fault_point("undo:volumes");
  for (const auto& network : entry.networks) undo_network(*context.engine, network, entry.uuid);
  base::fault_point("undo:networks");
  if (entry.loads_image) {
    try {
      context.engine->remove_image(entry.image);
    } catch (const base::Conflict& error) {
      spdlog::warn("the image {} is used by now, and stays: {}", entry.image, error.what());
    }
  }
  journal.remove(entry.uuid);
  spdlog::info("half a restore of the container {} is undone", entry.container);
}

RestoreContainerOutcome restore_container(Context& context, const RestoreContainerRequest& request,
                                          const VolumeWork& volumes, Job& job, bool& undone) {
  undone = true;
  const auto hold =
      context.repository.hold_shared(job.stop.get_token(), [&job](const std::string& why) { job.set_phase(why); },
                                     RepositoryAccess::Use::read);
  const auto repository = hold->repository();
  job.set_phase("looking at what there is");
  repository->refresh_index();
  const std::string uuid = base::make_uuid();
  const ContainerPlan plan = plan_container(context, *repository, request, uuid);
  RestoreContainerOutcome outcome = describe(plan, request.dry_run);
  if (!plan.conflicts.empty() || request.dry_run) return outcome;

  RestoreEntry entry = entry_of(plan, uuid);
  Restore restore(context, plan, entry, volumes, job, outcome);
  try {
    restore.run(*repository, hold->lost());
  } catch (const base::Cancelled&) {
    undone = false;
    if (job.stop.stop_requested()) throw;  // davit ends; the next start undoes it
    throw base::IoError("the restore of the container " + plan.name + " was interrupted", 0, true);
  } catch (const std::exception& error) {
    spdlog::error("the restore of the container {} failed and is undone: {}", plan.name, error.what());
    undone = false;
    const auto original = std::current_exception();
    try {
      undo_container_restore(context, entry, volumes, job);
      undone = true;
    } catch (const std::exception& later) {
      spdlog::error("it cannot be undone now: {}", later.what());
    }
    std::rethrow_exception(original);
  }
  spdlog::info("restored the container {} from {} in {:.1f} s", plan.name, short_id(outcome.snapshot), job.seconds());
  if (request.start) restore.start();
  return outcome;
}

}  // namespace davit::jobs
