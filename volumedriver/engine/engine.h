// Docker or Podman, asked over its API. Never called from inside a call of the engine about the same volume or
// container (it may hold that lock): jobs call it, the driver's calls do not.
//
// Any thread may call anything, several at once. One object outlives any number of engines: it connects at the first
// call, and looks for the engine anew after a failure, so the call after a restart just works.
//
// Errors, always with the engine's own words: NotFound (404), Conflict (409), UsageError (400), Error (another refusal);
// IoError for its own failures (5xx) and where no whole answer came; transient() where the same call may succeed later.
// Among those NoAnswer: it may have been asked, and no whole answer came.
// Corrupt where an answer is not what it must be. Cancelled when `stop` is requested.
//
// Deadlines: seconds for questions, minutes for what changes something (Patience below). Commit, save and load have
// none as a whole, only one for silence, and a stop token. Where a call that changes something fails with NoAnswer
// nobody knows whether it was done, or whether the engine is at it still: look before doing it again.
//
// Names and IDs may be those of any engine. What is called JSON is the engine's own bytes.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "wire/http_client.h"

namespace davit::engine {

enum class Kind : uint8_t { docker, podman };

using NoAnswer = wire::NoAnswer;

using Labels = std::map<std::string, std::string>;

struct PublishedPort {
  std::string ip;  // "" or "0.0.0.0" or "::": any
  std::string protocol;  // tcp, udp, sctp
  uint16_t container_port = 0;
  uint16_t host_port = 0;
};

// A mount of a named volume; binds and tmpfs are left out.
struct VolumeMount {
  std::string name, driver, destination;
};

// As the list says: one moment's picture, which blocks on no container.
struct Container {
  std::string id, name;  // the name has no slash
  std::string state;     // created, running, paused, restarting, exited, dead, …
  std::string image;     // as it was asked for, or an ID where that name is another image by now
  std::string image_id;
  Labels labels;
  std::vector<VolumeMount> volumes;
  std::vector<PublishedPort> ports;  // published ones only, and only while it runs
  bool is_running() const { return state == "running" || state == "paused" || state == "restarting"; }
};

// As inspect says.
struct ContainerDetails {
  std::string id, name;
  std::string image;  // as it was asked for
  std::string image_id;
  std::string started_at;  // RFC 3339, as the engine writes it: equal only for the same run
  bool running = false;    // also while paused
  bool paused = false;
  Labels labels;
  std::vector<VolumeMount> volumes;
  std::vector<std::string> networks;  // names
  std::string json;
};

struct EngineInfo {
  Kind kind = Kind::docker;
  std::string version;        // of the engine: "26.1.5"
  std::string api_version;    // that is spoken: "1.45"
  std::string architecture;   // as in images: amd64, arm64
  std::string storage_driver;
  std::string data_root;      // on the engine's host: /var/lib/docker
  bool containerd_store = false;  // Docker with containerd's image store
  std::vector<std::string> volume_drivers;  // also of enabled managed plugins: "davit:latest"
  std::vector<std::string> network_drivers;
};

struct Image {
  std::string id;  // "sha256:…"
  std::vector<std::string> references;  // NAME:TAG
  Labels labels;
  std::string architecture;  // only of find_image()
  uint64_t size_bytes = 0;
};

struct CommitRequest {
  std::string container_id;
  std::string repository, tag;
  // Added to the container's. No line ends; Podman 4 keeps the backslash that is put before each of " \ $.
  Labels labels;
  bool pause = true;  // for as long as the commit takes; what is paused already stays paused
  std::string comment;
};

class Engine {
 public:
  virtual ~Engine() = default;

  virtual Kind kind() = 0;
  virtual std::string api_version() = 0;
  virtual EngineInfo info() = 0;

  // ---- containers
  // All, running or not, that use the volume by name.
  virtual std::vector<Container> containers_using(const std::string& volume) = 0;
  // All, running or not. `label`: "KEY" or "KEY=VALUE"; "": all.
  virtual std::vector<Container> list_containers(const std::string& label = "") = 0;
  virtual ContainerDetails inspect_container(const std::string& id_or_name) = 0;
  // JSON: its processes; Conflict where it does not run.
  virtual std::string top(const std::string& id) = 0;
  // JSON: what differs from its image. May take minutes on some storage drivers.
  virtual std::string changes(const std::string& id) = 0;
  virtual void pause(const std::string& id) = 0;    // Conflict where it is paused, or does not run
  virtual void unpause(const std::string& id) = 0;  // Conflict where it is not paused
  // The new container's ID. Conflict: the name is taken; NotFound: no such image.
  virtual std::string create_container(const std::string& name, const std::string& body_json) = 0;
  virtual void start_container(const std::string& id) = 0;  // one that runs is fine
  // One that does not run is fine; after `grace` it is killed.
  virtual void stop_container(const std::string& id, std::chrono::seconds grace) = 0;
  // With its anonymous volumes left alone. One that is gone is fine.
  virtual void remove_container(const std::string& id, bool force) = 0;

  // ---- images
  // The new image's ID. Where the reference was taken, the other image loses it. After a stop or a failure some engines
  // still finish it: look for the image again once the container is no longer paused.
  virtual std::string commit(const CommitRequest& request, std::stop_token stop) = 0;
  // The image's stream, a tar (docker-archive or OCI layout), part by part on the caller's thread. It returns only
  // where the tar has come to its own end. Docker may have left out what it could not read: check that the manifest is
  // there, and all that it names. What `sink` throws, this throws.
  virtual void save_image(const std::string& reference, const std::function<void(base::ByteView)>& sink,
                          std::stop_token stop) = 0;
  // Loads a tar, and returns what it was told to be loaded: references, or IDs of images without any. What `tar.read`
  // throws, this throws. An image that was loaded before a later failure stays.
  virtual std::vector<std::string> load_image(const wire::BodySource& tar, std::stop_token stop) = 0;
  virtual std::optional<Image> find_image(const std::string& reference_or_id) = 0;
  // Those with all these labels (an empty value: whatever the value).
  virtual std::vector<Image> list_images(const Labels& labels, bool dangling_only = false) = 0;
  // Takes the reference away, and the image with its last one; parents stay. By ID: only an image of one reference or
  // none. One that is gone is fine; Conflict where a container uses it.
  virtual void remove_image(const std::string& reference_or_id) = 0;
  virtual void tag_image(const std::string& reference_or_id, const std::string& repository,
                         const std::string& tag) = 0;

  // ---- networks and volumes
  virtual std::vector<std::string> list_networks() = 0;  // names
  virtual std::optional<std::string> find_network(const std::string& name) = 0;  // JSON
  virtual std::string create_network(const std::string& body_json) = 0;          // its ID; Conflict: the name is taken
  virtual void remove_network(const std::string& name) = 0;                      // one that is gone is fine
  virtual void connect_network(const std::string& network, const std::string& body_json) = 0;
  virtual std::optional<std::string> find_volume(const std::string& name) = 0;  // JSON
  virtual void create_volume(const std::string& body_json) = 0;
  virtual void remove_volume(const std::string& name) = 0;  // one that is gone is fine; Conflict while it is used
};

// How long an engine may take; 0: for ever.
struct Patience {
  std::chrono::milliseconds greeting{4'000};     // to say who it is
  std::chrono::milliseconds question{15'000};    // in all
  std::chrono::milliseconds change{180'000};     // in all: plugins may take two minutes for Create and Mount
  std::chrono::milliseconds silence{1'800'000};  // of commit, save, load; engines say nothing while they pack or unpack
};

// `host`: as DOCKER_HOST ("unix:///run/docker.sock"); "": the first socket that is there of /host/run/docker.sock,
// /host/run/podman/podman.sock, /run/docker.sock, /run/podman/podman.sock. UsageError for what is no address.
std::unique_ptr<Engine> make_engine(const std::string& host, const Patience& patience = {});

}  // namespace davit::engine
