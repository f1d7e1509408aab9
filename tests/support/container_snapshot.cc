#include "support/container_snapshot.h"

#include <nlohmann/json.hpp>

#include "archive/image_stream.h"
#include "jobs/image_names.h"
#include "jobs/points.h"
#include "jobs/references.h"
#include "repo/upload.h"

namespace davit::test {

using nlohmann::json;

std::string saved_reference(const std::string& name) { return "davit/" + name + ":20261122T180000Z"; }

std::string save_container(Rooms& rooms, const SavedContainerOptions& options) {
  // An engine of its own makes the stream.
  FakeEngine maker;
  const std::string reference = saved_reference(options.name);
  maker.add_image(reference,
                  {{jobs::kLabelPoint, options.point}, {jobs::kLabelContainer, options.name}, {jobs::kLabelHost, "here"}},
                  options.layer);
  std::string stream;
  maker.save_image(reference, [&](base::ByteView part) { stream += base::as_text(part); }, {});

  json networks = json::array();
  for (const auto& network : options.networks) networks.push_back(json::parse(network));
  const json record = {{"version", 1},       {"engine", options.engine}, {"engine_version", "20.10"},
                       {"api_version", "1.41"}, {"image", reference},       {"point", options.point},
                       {"volumes", json::array()}};
  archive::ContainerFiles container;
  container.name = options.name;
  container.time = rooms.context.clock.now();
  const auto add = [&](const char* name, const std::string& text) {
    container.files.push_back({name, base::to_bytes(base::as_bytes(text))});
  };
  if (!options.inspect.empty()) add("container.json", options.inspect);
  if (options.with_image) add("davit.json", record.dump());
  add("networks.json", networks.dump());

  const auto hold = rooms.repository.hold_shared({});
  const auto repository = hold->repository();
  repository->refresh_index();
  repo::UploadSession session(*repository);
  size_t at = 0;
  const auto next = [&] {
    const std::string part = stream.substr(std::min(at, stream.size()), 10'000);
    at += part.size();
    return base::to_bytes(base::as_bytes(part));
  };
  const auto saved = archive::archive_container(*repository, session, container, next, {});
  session.finish();
  repo::Snapshot snapshot;
  snapshot.time = rooms.context.zoned(container.time);
  snapshot.tree = saved.tree;
  snapshot.paths = {jobs::kContainersPath + options.name};
  snapshot.hostname = "here";
  snapshot.tags = {jobs::kTagDavit, jobs::point_tag(options.point)};
  return repository->save_snapshot(snapshot).hex();
}

std::string put_into_point(Rooms& rooms, const std::string& volume, const std::string& point) {
  const auto all = rooms.snapshots(volume);
  repo::Snapshot snapshot = all.back().snapshot;
  std::erase_if(snapshot.tags, [](const std::string& tag) { return tag.starts_with(jobs::kTagPoint); });
  snapshot.tags.push_back(jobs::point_tag(point));
  snapshot.original.reset();
  return rooms.repository.get()->save_snapshot(snapshot).hex();
}

}  // namespace davit::test
