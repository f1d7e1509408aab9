// What committed images are called, and the labels by which davit knows them. Pure.
#pragma once

#include <map>
#include <string>

#include "base/clock.h"
#include "engine/engine.h"

namespace davit::jobs {

struct ImageName {
  std::string repository;  // "davit/web"; on Podman "localhost/davit/web", as it would add docker.io otherwise
  std::string tag;         // "20261122T180000Z"
  std::string reference() const { return repository + ":" + tag; }
};

// The container's name in lower case, what a repository's name may not hold replaced by '-'. Where that changes it, the
// tag ends in a part of the true name's hash, so that the images of "Web" and "web" never take each other's name. Who
// commits looks whether the name is free (a user may have given it to anything), and says `attempt` 2, 3, … until it is.
ImageName commit_image_name(engine::Kind kind, const std::string& container, base::Time time, unsigned attempt = 1);
// The first of these names: "davit/web:20261122T180000Z".
std::string commit_reference(engine::Kind kind, const std::string& container, base::Time time);

// Labels of committed images.
inline constexpr const char* kLabelPoint = "davit.point";          // the point's ID
inline constexpr const char* kLabelContainer = "davit.container";  // its true name
inline constexpr const char* kLabelImage = "davit.image";          // the name of the image that the container was made of
inline constexpr const char* kLabelHost = "davit.host";            // as in snapshots

}  // namespace davit::jobs
