// Kills a process at every durable step of the registry and looks at what it left: every volume is
// complete or absent, exactly what was acknowledged is there, directory and record agree, and
// nothing is left over. DAVIT_SOAK=1 runs many more random sequences; a failure prints its seed.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <random>
#include <set>

#include "base/errors.h"
#include "base/fault.h"
#include "base/fd.h"
#include "base/files.h"
#include "support/temp_dir.h"
#include "volumes/registry.h"

namespace davit::volumes {
namespace {

using test::TempDir;

enum class Kind {
  make,
  begin_restore,
  finish_restore,
  fail_restore,
  remove_keep,
  remove_drop,
  drop,
  sweep,
  update,
  replace
};

struct Step {
  Kind kind = Kind::sweep;
  int number = 0;  // of the step, unique: what it makes carries it
  std::string name;
  int victim = 0;  // drop: the number that the volume carries
};

struct Known {
  State state = State::ready;
  int number = 0, updated = 0;
  int content = 0;  // what its marker says; 0 until it is ready
  bool operator==(const Known&) const = default;
};
struct Model {
  std::map<std::string, Known> volumes;
  std::map<int, Known> removed;  // by number
  bool operator==(const Model&) const = default;
};

std::string describe(const Model& model) {
  std::string text;
  for (const auto& [name, known] : model.volumes)
    text += name + "=" + state_name(known.state) + "#" + std::to_string(known.number) + "/" +
            std::to_string(known.updated) + "/" + std::to_string(known.content) + " ";
  text += "removed:";
  for (const auto& [number, known] : model.removed)
    text += " #" + std::to_string(number) + "/" + std::to_string(known.updated) + "/" +
            std::to_string(known.content);
  return text;
}

void apply(Model& model, const Step& step) {
  switch (step.kind) {
    case Kind::make:
      model.volumes[step.name] = {State::ready, step.number, 0, step.number};
      break;
    case Kind::begin_restore:
      model.volumes[step.name] = {State::restoring, step.number, 0, 0};
      break;
    case Kind::finish_restore:
      model.volumes.at(step.name).state = State::ready;
      model.volumes.at(step.name).content = model.volumes.at(step.name).number;
      break;
    case Kind::fail_restore:
      model.volumes.at(step.name).state = State::failed;
      break;
    case Kind::remove_keep:
      if (const Known known = model.volumes.at(step.name); known.state == State::ready)
        model.removed[known.number] = {State::removed, known.number, known.updated, known.content};
      [[fallthrough]];
    case Kind::remove_drop:
      model.volumes.erase(step.name);
      break;
    case Kind::drop:
      model.removed.erase(step.victim);
      break;
    case Kind::update:
      model.volumes.at(step.name).updated = step.number;
      break;
    case Kind::replace:
      model.volumes.at(step.name).content = step.number;
      break;
    case Kind::sweep:
      break;
  }
}

void fill(Registry& registry, const Volume& volume) {
  const std::string staging = registry.prepare_staging(volume.uuid);
  base::write_file_atomic(staging + "/marker", base::as_bytes(volume.options.at("number")));
  registry.make_ready(volume.uuid);
}

void apply(Registry& registry, const Step& step) {
  const OptionMap options = {{"number", std::to_string(step.number)}, {"updated", "0"}};
  switch (step.kind) {
    case Kind::make:
      return fill(registry, registry.create(step.name, State::creating, options));
    case Kind::begin_restore:
      registry.create(step.name, State::restoring, options);
      return;
    case Kind::finish_restore:
      return fill(registry, *registry.find(step.name));
    case Kind::fail_restore:
      return registry.set_failed(registry.find(step.name)->uuid, "planned");
    case Kind::remove_keep:
      registry.remove(step.name, true);
      return;
    case Kind::remove_drop:
      registry.remove(step.name, false);
      return;
    case Kind::drop:
      for (const Volume& volume : registry.list_removed())
        if (volume.options.at("number") == std::to_string(step.victim)) registry.drop(volume.uuid);
      return;
    case Kind::update:
      registry.update(registry.find(step.name)->uuid, [&](Volume& volume) {
        volume.options["updated"] = std::to_string(step.number);
      });
      return;
    case Kind::replace: {
      const std::string uuid = registry.find(step.name)->uuid;
      base::write_file_atomic(registry.prepare_replacement(uuid) + "/marker",
                              base::as_bytes(std::to_string(step.number)));
      return registry.replace(uuid);
    }
    case Kind::sweep:
      return registry.sweep();
  }
}

int marker_in(const std::string& directory) {
  const auto bytes = base::find_file(directory + "/marker");
  return bytes ? std::stoi(std::string(base::as_text(*bytes))) : -1;
}

// What a new start finds; checks on the way that places and records agree.
Model observe(const std::string& data) {
  const base::SystemClock clock;
  Model model;
  for (int start = 0; start < 2;
       ++start) {  // the second start finds what the first one left: the same
    Registry registry(data, clock);
    registry.sweep();
    Model found;
    std::set<std::string> records, visible, aside, staged;
    for (const Volume& volume : registry.list()) {
      Known& known = found.volumes[volume.name];
      known = {volume.state, std::stoi(volume.options.at("number")),
               std::stoi(volume.options.at("updated")), 0};
      records.insert(volume.uuid + ".json");
      if (volume.state == State::ready) {
        visible.insert(volume.name);
        known.content = marker_in(registry.directory(volume));
      } else {
        staged.insert(volume.uuid);
      }
    }
    for (const Volume& volume : registry.list_removed()) {
      const int number = std::stoi(volume.options.at("number"));
      found.removed[number] = {State::removed, number, std::stoi(volume.options.at("updated")),
                               marker_in(registry.directory(volume))};
      records.insert(volume.uuid + ".json");
      aside.insert(volume.uuid);
      EXPECT_TRUE(volume.removed_at);
    }
    const auto names = [&](const char* place) {
      const auto all = base::list_directory(data + "/" + place);
      return std::set<std::string>(all.begin(), all.end());
    };
    EXPECT_EQ(names("registry"), records);
    EXPECT_EQ(names("volumes"), visible);
    EXPECT_EQ(names("removed"), aside);
    for (const std::string& uuid : names("staging")) EXPECT_TRUE(staged.contains(uuid)) << uuid;
    if (start == 1) {
      EXPECT_EQ(found, model) << describe(found) << "\nat the first start: " << describe(model);
    }
    model = found;
  }
  return model;
}

int points_left = 0;
constexpr int kCrashed = 77;

// Runs the steps in a process of their own that dies at its `crash_at`th fault point (0: never).
// Returns how many were acknowledged, and whether it died.
std::pair<int, bool> run(const std::string& data, const std::vector<Step>& steps, int crash_at) {
  int acknowledged[2];
  if (::pipe(acknowledged) != 0) base::throw_errno("pipe", errno);
  const pid_t child = ::fork();
  if (child == 0) {
    int result = 0;
    try {
      points_left = crash_at;
      base::fault_hook = [](const char*) {
        if (points_left > 0 && --points_left == 0) ::_exit(kCrashed);
      };
      const base::SystemClock clock;
      Registry registry(data, clock);
      for (const Step& step : steps) {
        apply(registry, step);
        base::write_all(acknowledged[1], base::as_bytes("."));
      }
    } catch (const std::exception& error) {
      std::fprintf(stderr, "in the child: %s\n", error.what());
      result = 1;
    }
    ::_exit(result);
  }
  ::close(acknowledged[1]);
  base::Bytes dots(steps.size() + 1);
  const base::Fd reader(acknowledged[0]);
  const auto count = static_cast<int>(base::read_up_to(reader.get(), dots));
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_TRUE(WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == kCrashed) << WEXITSTATUS(status);
  return {count, WEXITSTATUS(status) == kCrashed};
}

// Brings `model` to what is there now: what was acknowledged, and perhaps the step that was in
// flight.
void check(const std::string& data, Model& model, const std::vector<Step>& steps,
           int acknowledged) {
  for (int i = 0; i < acknowledged; ++i) apply(model, steps[i]);
  Model after = model;
  if (acknowledged < static_cast<int>(steps.size())) apply(after, steps[acknowledged]);
  const Model found = observe(data);
  EXPECT_TRUE(found == model || found == after)
      << "found      " << describe(found) << "\nexpected   " << describe(model) << "\nor perhaps "
      << describe(after);
  model = found;
}

TEST(RegistryCrash, KilledAtEveryStepEachVolumeIsCompleteOrAbsent) {
  const std::vector<Step> steps = {
      {Kind::make, 1, "a", 0},           {Kind::begin_restore, 2, "b", 0},
      {Kind::finish_restore, 3, "b", 0}, {Kind::update, 4, "a", 0},
      {Kind::begin_restore, 5, "c", 0},  {Kind::fail_restore, 6, "c", 0},
      {Kind::remove_keep, 7, "a", 0},    {Kind::make, 8, "a", 0},
      {Kind::remove_keep, 9, "c", 0},    {Kind::remove_drop, 10, "a", 0},
      {Kind::drop, 11, "", 1},           {Kind::make, 12, "a", 0},
      {Kind::replace, 13, "a", 0},       {Kind::replace, 14, "b", 0},
      {Kind::remove_keep, 15, "a", 0},   {Kind::sweep, 16, "", 0}};
  int crash_at = 1;
  for (bool died = true; died && !::testing::Test::HasFailure(); ++crash_at) {
    SCOPED_TRACE("killed at step " + std::to_string(crash_at));
    const TempDir dir;
    Model model;
    int acknowledged;
    std::tie(acknowledged, died) = run(dir.path(), steps, crash_at);
    check(dir.path(), model, steps, acknowledged);
  }
  EXPECT_GT(crash_at, 100);  // the points are really passed
}

Step random_step(const Model& model, std::mt19937_64& random, int number) {
  const auto below = [&](size_t limit) {
    return std::uniform_int_distribution<size_t>(0, limit - 1)(random);
  };
  for (;;) {
    Step step{static_cast<Kind>(below(10)), number, "v" + std::to_string(below(5)), 0};
    const auto found = model.volumes.find(step.name);
    const bool there = found != model.volumes.end();
    switch (step.kind) {
      case Kind::make:
      case Kind::begin_restore:
        if (!there) return step;
        break;
      case Kind::finish_restore:
      case Kind::fail_restore:
        if (there && found->second.state == State::restoring) return step;
        break;
      case Kind::remove_keep:
      case Kind::remove_drop:
      case Kind::update:
        if (there) return step;
        break;
      case Kind::replace:
        if (there && found->second.state == State::ready) return step;
        break;
      case Kind::drop:
        if (model.removed.empty()) break;
        step.victim =
            std::next(model.removed.begin(), static_cast<long>(below(model.removed.size())))->first;
        return step;
      case Kind::sweep:
        return step;
    }
  }
}

TEST(RegistryCrash, RandomSequencesWithRandomKillsFollowTheModel) {
  const bool soak = std::getenv("DAVIT_SOAK") != nullptr;
  const uint64_t first_seed = soak ? std::random_device()() : 20261122;
  for (uint64_t seed = first_seed;
       seed < first_seed + (soak ? 200 : 4) && !::testing::Test::HasFailure(); ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937_64 random(seed);
    const TempDir dir;
    Model model;
    int number = 0, crashes = 0;
    for (int life = 0; life < 30 && !::testing::Test::HasFailure(); ++life) {
      std::vector<Step> steps;
      Model planned = model;
      for (int i = 0; i < 12; ++i) {
        steps.push_back(random_step(planned, random, ++number));
        apply(planned, steps.back());
      }
      // Now and then early enough to die in the start itself.
      const int crash_at = std::uniform_int_distribution<int>(1, life % 3 == 0 ? 8 : 90)(random);
      const auto [acknowledged, died] = run(dir.path(), steps, crash_at);
      crashes += died;
      // A life may follow a crash at once, before anybody looked.
      if (life % 4 == 1 && died)
        run(dir.path(), {}, std::uniform_int_distribution<int>(1, 4)(random));
      check(dir.path(), model, steps, acknowledged);
    }
    EXPECT_GT(crashes, 10);
  }
}

}  // namespace
}  // namespace davit::volumes
