// What engines answer, read into engine.h's values. Private to this room. Pure functions: Corrupt
// where an answer is not what it must be; what may be absent or null is.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "engine/engine.h"
#include "wire/http_client.h"

namespace davit::engine {

// The engine's own words about a refusal, where it has some.
std::string message_of(const wire::HttpResponse& response);

std::vector<Container> read_containers(const std::string& body);
ContainerDetails read_container_details(const std::string& body);
std::vector<Image> read_images(const std::string& body);
Image read_image(const std::string& body);
// The member "Id" (of an object that was made), as it is.
std::string read_id(const std::string& body);
// "Name" of each.
std::vector<std::string> read_names(const std::string& body);
// Names of enabled managed plugins with that interface ("docker.volumedriver/").
std::vector<std::string> read_plugins(const std::string& body, std::string_view interface);
// From /info and /version.
EngineInfo read_info(const std::string& info_body, const std::string& version_body);

// "sha256:…" also where an engine leaves that away.
std::string image_id(const std::string& id);

// The answer of /images/load: one JSON object a line, of progress, of what was loaded, of a
// failure.
class LoadAnswer {
 public:
  // Throws IoError with the engine's words as soon as it tells a failure.
  void add(base::ByteView part);
  // At its end: what was loaded. Throws IoError where nothing was.
  std::vector<std::string> finish();

 private:
  void take(std::string_view line);

  std::string pending_;
  std::vector<std::string> loaded_;
};

// Whether a tar has come to its own end. Engines that fail in the middle of one append an error in
// JSON, and end the answer as if all were well.
class TarEnd {
 public:
  void add(base::ByteView part);
  uint64_t size_bytes() const { return size_bytes_; }
  // Throws IoError, with the engine's words where it had some.
  void check() const;

 private:
  uint64_t size_bytes_ = 0;
  std::string tail_;
};

}  // namespace davit::engine
