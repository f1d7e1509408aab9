#include "jobs/container_plan.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "base/errors.h"
#include "base/log.h"
#include "jobs/container_conflicts.h"
#include "jobs/host_view.h"
#include "jobs/load_image.h"
#include "jobs/network_spec.h"
#include "jobs/points.h"
#include "jobs/references.h"
#include "jobs/restore_volume.h"
#include "restore/restorer.h"
#include "volumes/name.h"

namespace davit::jobs {

using nlohmann::json;

namespace {

constexpr size_t kMaxDocumentBytes = 16 << 20;

std::string text(const json& object, const char* key) {
  if (!object.is_object()) return "";
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : "";
}

std::string read_text(const repo::Repository& repository, const repo::Snapshot& snapshot, const std::string& file) {
  const auto bytes = restore::find_small_file(repository, snapshot.tree, snapshot.paths[0] + "/" + file, kMaxDocumentBytes);
  return bytes ? std::string(base::as_text(*bytes)) : "";
}

// What the image is for, as its configuration says; "" where that is not told in one place.
std::string architecture_of(const repo::Repository& repository, const repo::Snapshot& snapshot) {
  const json manifest = json::parse(read_text(repository, snapshot, "image/manifest.json"), nullptr, false);
  if (!manifest.is_array() || manifest.size() != 1) return "";
  const std::string config = text(manifest[0], "Config");
  if (config.empty()) return "";
  return text(json::parse(read_text(repository, snapshot, "image/" + config), nullptr, false), "architecture");
}

struct Saved {
  std::vector<repo::Snapshot> all;  // oldest first
  explicit Saved(const repo::Repository& repository) {
    for (auto& file : repository.load_snapshots([](const base::Id&, const std::string&) {})) {
      file.snapshot.id = file.id;
      all.push_back(std::move(file.snapshot));
    }
  }
};

class Planner {
 public:
  Planner(Context& context, const repo::Repository& repository, const RestoreContainerRequest& request,
          const std::string& uuid)
      : context_(context), engine_(*context.engine), repository_(repository), request_(request), uuid_(uuid) {}

  ContainerPlan run() {
    read_snapshot();
    info_ = engine_.info();
    look_for_image();
    survey();
    volumes();
    const Findings found = find_conflicts(intent_, survey_);
    append(plan_.conflicts, found.conflicts);
    append(plan_.notes, found.notes);
    append(plan_.conflicts, volumes_.conflicts);
    append(plan_.notes, volumes_.notes);
    networks(found);
    make_body(found);
    return std::move(plan_);
  }

 private:
  static void append(std::vector<std::string>& to, const std::vector<std::string>& more) {
    to.insert(to.end(), more.begin(), more.end());
  }

  void read_snapshot() {
    plan_.snapshot = find_snapshot(context_, repository_, request_.reference, Subject::container);
    plan_.saved_name = container_of(plan_.snapshot);
    if (plan_.saved_name.empty())
      throw base::UsageError("the snapshot " + plan_.snapshot.id.short_hex() + " is not one of a container");
    plan_.record = read_commit_record(repository_, plan_.snapshot);
    const std::string inspect = read_text(repository_, plan_.snapshot, "container.json");
    if (inspect.empty())
      throw base::NotFound("the snapshot " + plan_.snapshot.id.short_hex() + " holds no description of the container");
    document_ = read_container(inspect, plan_.record.engine);
    if (const std::string saved = read_text(repository_, plan_.snapshot, "networks.json"); !saved.empty())
      for (const std::string& network : split_networks(saved)) {
        intent_.saved_networks.push_back(read_network(network));
        network_documents_[intent_.saved_networks.back().name] = network;
      }
    plan_.name = request_.as.empty() ? plan_.saved_name : request_.as;
    if (!volumes::is_valid_name(plan_.name))
      throw base::UsageError("'" + plan_.name + "' is no name for a container: letters, digits, '_', '.', '-', and the "
                             "first a letter or digit");
    intent_.name = plan_.name;
    intent_.architecture = architecture_of(repository_, plan_.snapshot);
    intent_.needs = needs_of(document_);
    intent_.publish = request_.publish;
    if (const auto labels = document_.config.find("Labels"); labels != document_.config.end() && labels->is_object())
      for (const auto& [key, value] : labels->items())
        if (value.is_string()) plan_.labels[key] = value;
    append(plan_.notes, unseen());
  }

  // What Podman's API does not tell cannot have been saved.
  std::vector<std::string> unseen() const {
    if (document_.written_by == engine::Kind::docker) return {};
    return {"sysctls and log options are not told by Podman's API: those of the container, if it had any, are not carried over"};
  }

  void look_for_image() {
    plan_.image = image_reference(plan_.record, info_.kind);
    const auto image = engine_.find_image(plan_.image);
    if (!image) return;
    plan_.loads_image = false;
    if (!is_image_of(*image, plan_.snapshot))
      plan_.conflicts.push_back("the engine has another image of the name " + plan_.image +
                                ": give that one another name, or remove it");
  }

  void survey() {
    survey_.engine = info_.kind;
    survey_.architecture = info_.architecture;
    survey_.network_drivers = info_.network_drivers;
    survey_.containers = engine_.list_containers();
    for (const std::string& name : engine_.list_networks())
      if (const auto network = engine_.find_network(name)) survey_.networks.push_back(read_network(*network));
    survey_.sockets = listening_sockets();
    for (const std::string& device : intent_.needs.devices) survey_.devices[device] = find_device(device);
    for (const auto& [id, what] : intent_.needs.containers)
      if (const std::string name = what == "link" ? id : name_of_container(id); !name.empty())
        intent_.containers[id] = name;
  }

  // "" where nobody knows it.
  std::string name_of_container(const std::string& id) {
    for (const auto& container : survey_.containers)
      if (container.name == id || container.id == id) return container.name;
    // Gone: its snapshots may tell. Newest first, each name once.
    const auto& all = saved().all;
    std::set<std::string> seen;
    for (auto snapshot = all.rbegin(); snapshot != all.rend(); ++snapshot) {
      const std::string name = container_of(*snapshot);
      const bool of_point = point_of(*snapshot) == plan_.record.point;
      if (name.empty() || snapshot->hostname != plan_.snapshot.hostname || (!seen.insert(name).second && !of_point))
        continue;
      if (name == id) return name;
      const json inspect = json::parse(read_text(repository_, *snapshot, "container.json"), nullptr, false);
      if (text(inspect, "Id") == id) return name;
    }
    return "";
  }

  const Saved& saved() {
    if (!saved_) saved_.emplace(repository_);
    return *saved_;
  }

  void volumes() {
    std::map<std::string, std::string> of_point;
    if (!plan_.record.point.empty())
      for (const auto& snapshot : saved().all)
        if (const std::string volume = volume_of(snapshot);
            !volume.empty() && point_of(snapshot) == plan_.record.point && !is_partial(snapshot))
          of_point[volume] = snapshot.id.hex();
    VolumesThere there;
    for (const auto& volume : context_.registry.list()) there.of_davit[volume.name] = volume.state;
    for (const NeededVolume& needed : intent_.needs.volumes)
      for (const std::string& name : {needed.name, plan_.name + "-" + needed.name}) {
        if (const auto known = engine_.find_volume(name))
          there.in_engine[name] = text(json::parse(*known, nullptr, false), "Driver");
        std::string users;
        for (const auto& container : engine_.containers_using(name))
          if (container.is_running()) users += (users.empty() ? "" : ", ") + container.name;
        there.running_users[name] = users;
      }
    volumes_ = plan_volumes(intent_.needs.volumes, request_.volumes, plan_.name, plan_.name != plan_.saved_name, of_point, there);
    plan_.volumes = volumes_.steps;
    const bool any_made = std::any_of(plan_.volumes.begin(), plan_.volumes.end(), [](const VolumeStep& step) {
      return step.action == VolumeStep::Action::make || step.action == VolumeStep::Action::adopt;
    });
    if (!any_made) return;
    plan_.volume_driver = find_driver(there);
    if (plan_.volume_driver.empty())
      volumes_.conflicts.push_back("this engine does not know davit as a volume driver (docker plugin ls, or "
                                   "volume_plugins in containers.conf)");
  }

  // The plugin is not told its own name: an engine's users give it.
  std::string find_driver(const VolumesThere& there) {
    for (const auto& [name, driver] : there.in_engine)
      if (there.of_davit.contains(name) && !driver.empty()) return driver;
    for (const auto& volume : context_.registry.list())
      if (const auto known = engine_.find_volume(volume.name))
        if (const std::string driver = text(json::parse(*known, nullptr, false), "Driver"); !driver.empty()) return driver;
    const auto& drivers = info_.volume_drivers;
    const auto is_known = [&](const std::string& name) { return std::find(drivers.begin(), drivers.end(), name) != drivers.end(); };
    for (const NeededVolume& needed : intent_.needs.volumes)
      if (!needed.driver.empty() && needed.driver != "local" && is_known(needed.driver)) return needed.driver;
    for (const std::string& driver : drivers)
      if (driver.find("davit") != std::string::npos) return driver;
    return "";
  }

  void networks(const Findings& found) {
    for (const std::string& name : found.networks) {
      const NetworkChoices choices{.saved_by = plan_.record.engine,
                                   .engine = info_.kind,
                                   .keep_subnets = !found.without_subnet.contains(name),
                                   .restore = uuid_};
      plan_.networks.emplace_back(name, network_body(network_documents_.at(name), choices, plan_.notes));
    }
  }

  void make_body(const Findings& found) {
    SpecChoices choices;
    choices.engine = info_.kind;
    choices.api_minor = api_minor(engine_.api_version());
    choices.name = plan_.name;
    choices.image = plan_.image;
    choices.saved_host = plan_.snapshot.hostname;
    choices.containers = intent_.containers;
    choices.addresses_left = found.addresses_left;
    choices.publish = request_.publish;
    for (const VolumeStep& step : plan_.volumes)
      if (step.name != step.saved_name) choices.volumes[step.saved_name] = step.name;
    plan_.spec = make_spec(document_, choices);
    append(plan_.notes, plan_.spec.named);
  }

  Context& context_;
  engine::Engine& engine_;
  const repo::Repository& repository_;
  const RestoreContainerRequest& request_;
  const std::string& uuid_;
  engine::EngineInfo info_;
  ContainerDocument document_;
  std::map<std::string, std::string> network_documents_;
  std::optional<Saved> saved_;
  Intent intent_;
  Survey survey_;
  VolumesPlan volumes_;
  ContainerPlan plan_;
};

}  // namespace

ContainerPlan plan_container(Context& context, const repo::Repository& repository,
                             const RestoreContainerRequest& request, const std::string& uuid) {
  if (context.engine == nullptr) throw base::IoError("no container engine is known: set DOCKER_HOST", 0);
  return Planner(context, repository, request, uuid).run();
}

}  // namespace davit::jobs
