// Our client of a real engine, driven from a script: engine_probe HOST reads a call a line (words with tabs between),
// and answers with what came of it, or with "! KIND: MESSAGE" where it failed, and then a line with only a dot.
#include <unistd.h>

#include <cstdio>
#include <exception>
#include <fstream>
#include <functional>
#include <iostream>
#include <map>
#include <thread>

#include "base/errors.h"
#include "base/log.h"
#include "engine/engine.h"

namespace {

using namespace davit;
using Words = std::vector<std::string>;
constexpr size_t kGateBytes = 1 << 20;

void say(const std::string& line) { std::cout << line << std::endl; }

std::string joined(const Words& words) {
  std::string text;
  for (const auto& word : words) text += (text.empty() ? "" : ",") + word;
  return text.empty() ? "-" : text;
}
std::string dash(const std::string& text) { return text.empty() ? "-" : text; }

void say_container(const engine::Container& container) {
  const auto project = container.labels.find("com.docker.compose.project");
  say(container.name + " " + container.state + " " +
      (project == container.labels.end() ? "-" : project->second) + " " + std::to_string(container.id.size()));
}

void say_image(const engine::Image& image) {
  say(image.id + " " + joined(image.references) + " " + dash(image.architecture) + " " +
      (image.size_bytes > 0 ? "sized" : "empty"));
  for (const auto& [key, value] : image.labels) say(key + "=" + value);
}

engine::Labels labels_of(const Words& words, size_t from) {
  engine::Labels labels;
  for (size_t i = from; i < words.size(); ++i)
    labels[words[i].substr(0, words[i].find('='))] = words[i].substr(words[i].find('=') + 1);
  return labels;
}

// Once a megabyte has passed: says so and waits until the file is there.
class Gate {
 public:
  explicit Gate(std::string file) : file_(std::move(file)) {}
  void pass(size_t bytes) {
    passed_ += bytes;
    if (file_.empty() || passed_ < kGateBytes) return;
    say("streaming");
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::minutes(2);
    while (::access(file_.c_str(), F_OK) != 0) {
      if (std::chrono::steady_clock::now() > deadline) throw std::runtime_error("the gate stays shut");
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    file_.clear();
  }

 private:
  std::string file_;
  size_t passed_ = 0;
};

void save(engine::Engine& engine, const Words& words) {
  std::ofstream file(words[2], std::ios::binary);
  Gate gate(words[3]);
  engine.save_image(
      words[1],
      [&](base::ByteView part) {
        file.write(reinterpret_cast<const char*>(part.data()), static_cast<std::streamsize>(part.size()));
        gate.pass(part.size());
      },
      {});
}

void load(engine::Engine& engine, const Words& words) {
  std::ifstream file(words[1], std::ios::binary);
  Gate gate(words[2]);
  wire::BodySource tar;
  tar.read = [&](std::span<uint8_t> out) {
    file.read(reinterpret_cast<char*>(out.data()), static_cast<std::streamsize>(out.size()));
    gate.pass(static_cast<size_t>(file.gcount()));
    return static_cast<size_t>(file.gcount());
  };
  for (const auto& each : engine.load_image(tar, {})) say(each);
}

void inspect(engine::Engine& engine, const Words& words) {
  const auto details = engine.inspect_container(words[1]);
  Words volumes;
  for (const auto& mount : details.volumes)
    volumes.push_back(mount.name + ":" + mount.driver + ":" + mount.destination);
  say(details.name + " " + std::to_string(details.id.size()) + " " + details.image + " " + details.image_id.substr(0, 7) +
      " " + (details.running ? "running" : "stopped") + " " + (details.paused ? "paused" : "-") + " " +
      joined(volumes) + " " + joined(details.networks));
}

void info(engine::Engine& engine) {
  const auto info = engine.info();
  say(std::string(info.kind == engine::Kind::podman ? "podman" : "docker") + " " + info.version + " " +
      info.api_version + " " + info.architecture + " " + info.storage_driver + " " +
      (info.containerd_store ? "containerd" : "graph") + " " + joined(info.volume_drivers) + " " +
      joined(info.network_drivers));
}

// Each with the number of its words.
const std::map<std::string, std::pair<size_t, std::function<void(engine::Engine&, const Words&)>>> kCalls = {
    {"info", {1, [](auto& engine, auto&) { info(engine); }}},
    {"using",
     {2,
      [](auto& engine, auto& words) {
        for (const auto& each : engine.containers_using(words[1])) say_container(each);
      }}},
    {"list",
     {2,
      [](auto& engine, auto& words) {
        for (const auto& each : engine.list_containers(words[1])) say_container(each);
      }}},
    {"ports",
     {2,
      [](auto& engine, auto& words) {
        for (const auto& each : engine.list_containers(words[1]))
          for (const auto& port : each.ports)
            say(port.ip + " " + std::to_string(port.host_port) + " " + std::to_string(port.container_port) + " " +
                port.protocol);
      }}},
    {"inspect", {2, inspect}},
    {"started", {2, [](auto& engine, auto& words) { say(engine.inspect_container(words[1]).started_at); }}},
    {"json", {2, [](auto& engine, auto& words) { say(engine.inspect_container(words[1]).json); }}},
    {"top", {2, [](auto& engine, auto& words) { say(engine.top(words[1])); }}},
    {"changes", {2, [](auto& engine, auto& words) { say(engine.changes(words[1])); }}},
    {"pause", {2, [](auto& engine, auto& words) { engine.pause(words[1]); }}},
    {"unpause", {2, [](auto& engine, auto& words) { engine.unpause(words[1]); }}},
    {"create", {3, [](auto& engine, auto& words) { say(engine.create_container(words[1], words[2])); }}},
    {"start", {2, [](auto& engine, auto& words) { engine.start_container(words[1]); }}},
    {"stop", {2, [](auto& engine, auto& words) { engine.stop_container(words[1], std::chrono::seconds(1)); }}},
    {"remove", {2, [](auto& engine, auto& words) { engine.remove_container(words[1], false); }}},
    {"remove-force", {2, [](auto& engine, auto& words) { engine.remove_container(words[1], true); }}},
    {"commit",  // ID REPOSITORY TAG PAUSE LABEL…
     {5,
      [](auto& engine, auto& words) {
        say(engine.commit({words[1], words[2], words[3], labels_of(words, 5), words[4] == "1", "a comment"}, {}));
      }}},
    {"save", {4, save}},  // REFERENCE FILE GATE
    {"load", {3, load}},  // FILE GATE
    {"image",
     {2,
      [](auto& engine, auto& words) {
        if (const auto image = engine.find_image(words[1])) say_image(*image);
      }}},
    {"images",
     {1, [](auto& engine, auto& words) {
        for (const auto& each : engine.list_images(labels_of(words, 1), false)) say_image(each);
      }}},
    {"dangling",
     {1, [](auto& engine, auto& words) {
        for (const auto& each : engine.list_images(labels_of(words, 1), true)) say_image(each);
      }}},
    {"remove-image", {2, [](auto& engine, auto& words) { engine.remove_image(words[1]); }}},
    {"tag", {4, [](auto& engine, auto& words) { engine.tag_image(words[1], words[2], words[3]); }}},
    {"networks",
     {1,
      [](auto& engine, auto&) {
        for (const auto& each : engine.list_networks()) say(each);
      }}},
    {"network", {2, [](auto& engine, auto& words) { say(engine.find_network(words[1]).value_or("none")); }}},
    {"create-network", {2, [](auto& engine, auto& words) { say(engine.create_network(words[1])); }}},
    {"connect", {3, [](auto& engine, auto& words) { engine.connect_network(words[1], words[2]); }}},
    {"remove-network", {2, [](auto& engine, auto& words) { engine.remove_network(words[1]); }}},
    {"volume", {2, [](auto& engine, auto& words) { say(engine.find_volume(words[1]).value_or("none")); }}},
    {"create-volume", {2, [](auto& engine, auto& words) { engine.create_volume(words[1]); }}},
    {"remove-volume", {2, [](auto& engine, auto& words) { engine.remove_volume(words[1]); }}},
};

std::string kind_of(const std::exception& error) {
  if (const auto* io = dynamic_cast<const base::IoError*>(&error))
    return io->transient() ? "transient" : "io";
  if (dynamic_cast<const base::NotFound*>(&error)) return "not-found";
  if (dynamic_cast<const base::Conflict*>(&error)) return "conflict";
  if (dynamic_cast<const base::UsageError*>(&error)) return "usage";
  if (dynamic_cast<const base::Corrupt*>(&error)) return "corrupt";
  return "error";
}

void answer(engine::Engine& engine, const std::string& line) {
  Words words;
  for (size_t begin = 0; begin <= line.size();) {
    const size_t end = std::min(line.find('\t', begin), line.size());
    words.push_back(line.substr(begin, end - begin));
    begin = end + 1;
  }
  try {
    const auto call = kCalls.find(words[0]);
    if (call == kCalls.end() || words.size() < call->second.first)
      throw std::runtime_error("no such call: " + line);
    call->second.second(engine, words);
  } catch (const std::exception& error) {
    say("! " + kind_of(error) + ": " + error.what());
  }
  say(".");
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 2) return 2;
  base::start_log("error");
  const auto engine = engine::make_engine(arguments[1]);
  for (std::string line; std::getline(std::cin, line);) answer(*engine, line);
  return 0;
}
