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
#include "jobs/points.h"
#include "jobs/undo_restore.h"

namespace davit::jobs {

using namespace std::chrono_literals;
using nlohmann::json;
using Action = VolumeStep::Action;

namespace {

// How long a container is watched that was started: what fails at once fails within this.
constexpr auto kWatched = 1500ms, kLook = 100ms;
constexpr auto kBeforeSecondStart = 1s;
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
  entry.point = point_of(plan.snapshot);
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
    load_image(repository, lost);
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
    forget_late_images(context_, plan_.image);
    base::fault_point("container:done");
  }

  void start() {
    try {
      job_.set_phase("starting");
      try {
        engine_.start_container(outcome_.id);
      } catch (const base::NotFound&) {
        throw;
      } catch (const base::Error& error) {
        // Engines fail to start what they start a moment later: the runtime's first process dies, or a port is not
        // given back yet.
        spdlog::warn("container {}: starting it once more: {}", plan_.name, error.what());
        job_.pause(kBeforeSecondStart);
        engine_.start_container(outcome_.id);
      }
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
  using Asked = RestoreEntry::Asked;

  void ask(Asked what, const std::string& name = "") {
    entry_.asked = what;
    entry_.asked_name = name;
    entry_.asked_at = context_.clock.now();
    journal_.write(entry_);
  }
  void answered() {
    entry_.asked = Asked::nothing;
    journal_.write(entry_);
  }

  void go_on(const std::stop_token& lost) const {
    if (job_.stop.stop_requested()) throw base::Cancelled();
    if (lost.stop_requested()) throw base::IoError("the lock on the repository was lost: try again", 0, true);
  }

  void load_image(const repo::Repository& repository, const std::stop_token& lost) {
    ask(Asked::image);
    outcome_.image_loaded = ensure_image(context_, repository, plan_.snapshot, job_, lost).loaded;
    // One that another restore loads at this moment is of both: it goes with the last of them.
    entry_.loads_image = outcome_.image_loaded || is_loaded_by_another(context_, entry_);
    answered();
  }

  void make_networks() {
    for (const auto& [name, body] : plan_.networks) {
      job_.set_phase("making network " + name);
      ask(Asked::network, name);
      engine_.create_network(body);
      answered();
      base::fault_point("container:network");
    }
  }

  // All are made before the first is waited for: they restore side by side.
  void make_volumes() {
    for (const VolumeStep& step : plan_.volumes) {
      if (step.action != Action::make && step.action != Action::adopt) continue;
      job_.set_phase("making volume " + step.name);
      ask(Asked::volume, step.name);
      engine_.create_volume(volume_body(plan_, step));
      answered();
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
    ask(Asked::container);
    entry_.container_id = outcome_.id = engine_.create_container(plan_.name, plan_.spec.body);
    answered();
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

}  // namespace

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
    if (dynamic_cast<const base::IoError*>(&error) == nullptr)
      entry.asked = RestoreEntry::Asked::nothing;  // it refused
    else if (dynamic_cast<const engine::NoAnswer*>(&error) == nullptr)
      entry.asked_at = {};  // it failed by itself: what it made, if anything, is there
    try {
      RestoreJournal(context.data_directory).write(entry);
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
