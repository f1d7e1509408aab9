// An engine in memory, for tests of the jobs: it has containers, images, networks and volumes, does what engine.h says,
// and fails when and as the test wants. Its images are small docker-archives that it saves and loads as real tars.
// Any thread may call anything; hooks run on the caller's thread without any lock.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <type_traits>
#include <vector>

#include "base/synchronized.h"
#include "engine/engine.h"

namespace davit::test {

class FakeEngine : public engine::Engine {
 public:
  explicit FakeEngine(engine::Kind kind = engine::Kind::docker) : kind_(kind) {}

  // ---- the world
  struct NewContainer {
    std::string name;
    std::string state = "running";
    std::string image = "base:1";
    engine::Labels labels = {};
    std::vector<std::string> volumes = {};   // names
    std::vector<std::string> networks = {};  // names
    std::vector<engine::PublishedPort> ports = {};
    std::string layer = "layer";  // the bytes of its writable layer, in each commit
    std::string restart = "no";   // its restart policy
    std::string error = {};       // why its last start failed
  };
  // Its ID; an image of that name is made where there is none.
  std::string add_container(const NewContainer& container);
  void set_layer(const std::string& container, const std::string& bytes);
  // An image of one layer; its ID.
  std::string add_image(const std::string& reference, const engine::Labels& labels = {},
                        const std::string& layer = "base");
  // A container of that name that uses the volume; where it is there already, it gets the state and the volume.
  void set(const std::string& volume, const std::string& container, const std::string& state);

  // ---- faults
  // From now on each call fails with that IoError (not transient); "" ends it.
  void fail(const std::string& why) { world_.lock()->failure = why; }
  // Called at the beginning of each call, with its name and object ("commit ID", "save_image REF", "info"): may wait,
  // throw, or change the world. The N-th call fails: count in there.
  void on_call(std::function<void(const std::string& call)> hook);
  // As on_call, when the call has been done and before it returns: what it throws is an answer that got lost.
  void on_done(std::function<void(const std::string& call)> hook);
  // Called after each part of a save (1 KiB) with the bytes that were given to the sink so far, and after each part
  // of a load with those taken: to cut the stream, throw; to be slow, wait.
  void on_stream(std::function<void(const std::string& call, uint64_t bytes)> hook);
  // What the next commit leaves behind when the engine is killed in it; it throws a transient IoError.
  enum class Killed { never, paused, dangling };
  void kill_in_commit(Killed how) { world_.lock()->killed = how; }

  // The volumes' driver: asked by what makes and removes volumes, and by a container that names one which is not there.
  using MakeVolume = std::function<void(const std::string& name, const std::map<std::string, std::string>& options)>;
  void drive_volumes(MakeVolume make, std::function<void(const std::string& name)> remove);

  // From here on what it has stands in this file, and is taken from it now: so it outlives a process that is killed,
  // as engines do. Each call then passes the fault points "engine:called" and "engine:done", and a commit
  // "engine:paused" and "engine:made": who dies there dies together with the engine, unless that goes on.
  void persist_in(const std::string& path);
  // What the engine was making for a process that died: "create_network shop", or "".
  std::string unfinished();
  // As an engine that lives does it.
  void finish();

  // ---- what became of it
  std::vector<std::string> calls();
  std::string state(const std::string& container);  // "" where there is none
  std::vector<std::string> references();            // of all images, sorted
  size_t dangling();                                // images without a reference
  bool has_volume(const std::string& name);
  bool has_network(const std::string& name);

  // ---- engine::Engine
  engine::Kind kind() override { return kind_; }
  std::string api_version() override { return "1.41"; }
  engine::EngineInfo info() override;
  std::vector<engine::Container> containers_using(const std::string& volume) override;
  std::vector<engine::Container> list_containers(const std::string& label) override;
  engine::ContainerDetails inspect_container(const std::string& id_or_name) override;
  std::string top(const std::string& id) override;
  std::string changes(const std::string& id) override;
  void pause(const std::string& id) override;
  void unpause(const std::string& id) override;
  std::string create_container(const std::string& name, const std::string& body_json) override;
  void start_container(const std::string& id) override;
  void stop_container(const std::string& id, std::chrono::seconds grace) override;
  void remove_container(const std::string& id, bool force) override;
  std::string commit(const engine::CommitRequest& request, std::stop_token stop) override;
  void save_image(const std::string& reference, const std::function<void(base::ByteView)>& sink,
                  std::stop_token stop) override;
  std::vector<std::string> load_image(const wire::BodySource& tar, std::stop_token stop) override;
  std::optional<engine::Image> find_image(const std::string& reference_or_id) override;
  std::vector<engine::Image> list_images(const engine::Labels& labels, bool dangling_only) override;
  void remove_image(const std::string& reference_or_id) override;
  void tag_image(const std::string& reference_or_id, const std::string& repository,
                 const std::string& tag) override;
  std::vector<std::string> list_networks() override;
  std::optional<std::string> find_network(const std::string& name) override;
  std::string create_network(const std::string& body_json) override;
  void remove_network(const std::string& name) override;
  void connect_network(const std::string& network, const std::string& body_json) override;
  std::optional<std::string> find_volume(const std::string& name) override;
  void create_volume(const std::string& body_json) override;
  void remove_volume(const std::string& name) override;

 private:
  struct ContainerState {
    engine::Container container;
    std::vector<std::string> networks;
    std::string started_at, layer, error;
    std::string body = "{}";  // what it was created with
  };
  struct ImageState {
    engine::Image image;
    std::vector<std::string> layers;
  };
  using Hook = std::function<void(const std::string&)>;
  struct Unfinished {
    std::string call, name, body;
  };
  struct World {
    std::map<std::string, ContainerState> containers;  // by ID
    std::map<std::string, ImageState> images;          // by ID
    std::map<std::string, std::string> networks, volumes;  // name -> JSON
    std::vector<std::string> calls;
    std::string failure;
    Killed killed = Killed::never;
    Hook called, done;
    std::function<void(const std::string&, uint64_t)> streamed;
    uint64_t next = 1;  // IDs and starts
    std::string path;   // "": in memory only
    Unfinished unfinished;
    MakeVolume make_volume;
    Hook remove_volume;

    void keep() const;  // writes the file, if there is one
    void load();
    void passes(const char* fault_point) const;  // if there is a file

    std::string make_id();
    std::string make_time();
    ContainerState& container(const std::string& id_or_name);
    ImageState* find(const std::string& reference_or_id);
    std::string add_image(const std::vector<std::string>& references, const engine::Labels& labels,
                          const std::vector<std::string>& layers);
    void begin(const Unfinished& what);
    void take_reference(const std::string& reference);
    std::string stream_of(const ImageState& image) const;
  };
  // Runs a call: hooks and failures around, the lock within.
  template <typename Do>
  auto during(const std::string& call, Do work) {
    begin(call);
    if constexpr (std::is_void_v<std::invoke_result_t<Do, World&>>) {
      world_.with([&](World& world) {
        work(world);
        world.keep();
      });
      end(call);
    } else {
      auto result = world_.with([&](World& world) {
        auto made = work(world);
        world.keep();
        return made;
      });
      end(call);
      return result;
    }
  }
  void make_volumes_of(const std::string& body_json);
  std::vector<std::string> unpack(const std::string& stream);
  void begin(const std::string& call);
  void end(const std::string& call);

  const engine::Kind kind_;
  base::Synchronized<World> world_;
};

}  // namespace davit::test
