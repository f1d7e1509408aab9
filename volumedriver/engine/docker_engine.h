// The one client for all engines: Docker's API, which Podman speaks too. Private to this room. In
// three files: docker_engine.cc (itself, containers), engine_images.cc, engine_resources.cc
// (networks, volumes).
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "engine/channel.h"
#include "engine/engine.h"

namespace davit::engine {

class DockerEngine : public Engine {
 public:
  DockerEngine(const std::string& host, const Patience& patience)
      : patience_(patience), channel_(host, patience) {}

  Kind kind() override { return channel_.link().kind; }
  std::string api_version() override { return channel_.link().version; }
  EngineInfo info() override;

  std::vector<Container> containers_using(const std::string& volume) override;
  std::vector<Container> list_containers(const std::string& label) override;
  ContainerDetails inspect_container(const std::string& id_or_name) override;
  std::string top(const std::string& id) override;
  std::string changes(const std::string& id) override;
  void pause(const std::string& id) override;
  void unpause(const std::string& id) override;
  std::string create_container(const std::string& name, const std::string& body_json) override;
  void start_container(const std::string& id) override;
  void stop_container(const std::string& id, std::chrono::seconds grace) override;
  void remove_container(const std::string& id, bool force) override;

  std::string commit(const CommitRequest& request, std::stop_token stop) override;
  void save_image(const std::string& reference, const std::function<void(base::ByteView)>& sink,
                  std::stop_token stop) override;
  std::vector<std::string> load_image(const wire::BodySource& tar, std::stop_token stop) override;
  std::optional<Image> find_image(const std::string& reference_or_id) override;
  std::vector<Image> list_images(const Labels& labels, bool dangling_only) override;
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
  // The body of a good answer to GET; find(): nothing where the engine says 404.
  std::string get(const std::string& path);
  std::optional<std::string> find(const std::string& path);
  // Changes something.
  std::string post(const std::string& path, const std::string& body = {}, bool once = false);
  // Whatever is gone already is fine.
  void remove(const std::string& path);
  std::vector<Container> containers(const std::string& filters_json);
  wire::Deadlines question() const;
  wire::Deadlines change() const;
  wire::Deadlines silence() const;

  const Patience patience_;
  Channel channel_;
};

// For paths: names with slashes keep them, as the engines' routes have it.
std::string path_of(const std::string& name);
// For query strings: JSON whose strings may hold any bytes.
std::string query_of(const nlohmann::json& filters);

}  // namespace davit::engine
