// Prints what our client sees of a real engine: engine_probe HOST VOLUME. One container a line:
// name, state, project.
#include <cstdio>
#include <exception>

#include "base/log.h"
#include "engine/engine.h"

int main(int count, char** arguments) {
  if (count != 3) return 2;
  try {
    davit::base::start_log("error");
    const auto engine = davit::engine::make_engine(arguments[1]);
    std::printf("%s\n", engine->kind() == davit::engine::Kind::podman ? "podman" : "docker");
    for (const auto& container : engine->containers_using(arguments[2])) {
      const auto project = container.labels.find("com.docker.compose.project");
      std::printf("%s %s %s %zu\n", container.name.c_str(), container.state.c_str(),
                  project == container.labels.end() ? "-" : project->second.c_str(),
                  container.id.size());
    }
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
