#include "jobs/volume_steps.h"

#include "volumes/name.h"

namespace davit::jobs {

using volumes::State;
using Action = VolumeStep::Action;
using Mode = RestoreContainerRequest::Volumes;

namespace {

class Planner {
 public:
  Planner(Mode mode, const std::string& container, bool is_copy, const std::map<std::string, std::string>& snapshots,
          const VolumesThere& there)
      : from_point_(mode == Mode::point || (mode == Mode::automatic && is_copy)), container_(container),
        is_copy_(is_copy), snapshots_(snapshots), there_(there) {}

  void add(const NeededVolume& volume) {
    const bool davits = snapshots_.contains(volume.name) || there_.of_davit.contains(volume.name);
    if (volume.anonymous && !davits)
      anonymous(volume);
    else if (is_copy_ && from_point_)
      copy(volume);
    else
      itself(volume);
  }
  VolumesPlan take() { return std::move(plan_); }

 private:
  bool in_engine(const std::string& name) const { return there_.in_engine.contains(name); }
  void step(const NeededVolume& volume, const std::string& name, Action action) {
    const auto snapshot = snapshots_.find(volume.name);
    const bool needed = action == Action::make || action == Action::replace;
    plan_.steps.push_back({volume.name, name, action, needed ? snapshot->second : ""});
  }
  void conflict(const std::string& what) { plan_.conflicts.push_back(what); }
  void note(const std::string& what) { plan_.notes.push_back(what); }

  // Nobody asks for it by its name again, and it is not among what davit saves.
  void anonymous(const NeededVolume& volume) {
    if (in_engine(volume.name) && !is_copy_) return step(volume, volume.name, Action::keep);
    note("the anonymous volume at " + volume.destinations.front() + " begins as the image has it: it is none of davit's");
    step(volume, "", Action::fresh);
  }

  void missing(const std::string& name) {
    conflict("the volume " + name + " is missing, and the point holds no snapshot of it: make it first (one of davit's: "
             "volume create -d davit -o from=" + name + " " + name + ")");
  }

  void copy(const NeededVolume& volume) {
    if (!snapshots_.contains(volume.name)) {
      if (!in_engine(volume.name) && !there_.of_davit.contains(volume.name)) return missing(volume.name);
      note("the volume " + volume.name + " has no snapshot in the point: the copy shares it");
      return step(volume, volume.name, in_engine(volume.name) ? Action::keep : Action::adopt);
    }
    const std::string name = container_ + "-" + volume.name;
    if (!volumes::is_valid_name(name))
      conflict("'" + name + "' is no name for the copy of the volume " + volume.name + ": choose a shorter --as");
    else if (in_engine(name) || there_.of_davit.contains(name))
      conflict("there is a volume " + name + " already: remove it, choose another --as, or share the volumes "
               "(--volumes keep)");
    else
      step(volume, name, Action::make);
  }

  void itself(const NeededVolume& volume) {
    const std::string& name = volume.name;
    const auto own = there_.of_davit.find(name);
    if (own == there_.of_davit.end()) {
      if (in_engine(name)) {
        if (from_point_) note("the volume " + name + " is none of davit's: it stays as it is");
        return step(volume, name, Action::keep);
      }
      return snapshots_.contains(name) ? step(volume, name, Action::make) : missing(name);
    }
    if (own->second == State::failed)
      return conflict("the restore of the volume " + name + " failed: remove it first");
    if (own->second != State::ready)
      return conflict("the volume " + name + " is " + volumes::state_name(own->second) + ": davit wait " + name);
    if (from_point_ && snapshots_.contains(name)) {
      const auto users = there_.running_users.find(name);
      if (users != there_.running_users.end() && !users->second.empty())
        return conflict("the volume " + name + " is in use by " + users->second +
                        ": stop it first, or keep the volume as it is (--volumes keep)");
      return step(volume, name, Action::replace);
    }
    if (from_point_) note("the volume " + name + " has no snapshot in the point: it stays as it is");
    step(volume, name, in_engine(name) ? Action::keep : Action::adopt);
  }

  const bool from_point_;
  const std::string& container_;
  const bool is_copy_;
  const std::map<std::string, std::string>& snapshots_;
  const VolumesThere& there_;
  VolumesPlan plan_;
};

}  // namespace

const char* action_name(Action action) {
  switch (action) {
    case Action::keep: return "kept";
    case Action::adopt: return "kept";
    case Action::fresh: return "new";
    case Action::make: return "restored";
    case Action::replace: return "replaced";
  }
  return "kept";
}

VolumesPlan plan_volumes(const std::vector<NeededVolume>& needed, Mode mode, const std::string& container, bool is_copy,
                         const std::map<std::string, std::string>& snapshots, const VolumesThere& there) {
  Planner planner(mode, container, is_copy, snapshots, there);
  for (const NeededVolume& volume : needed) planner.add(volume);
  return planner.take();
}

}  // namespace davit::jobs
