#include "support/image_fixture.h"

#include <gtest/gtest.h>

#include "archive/tar_reader.h"
#include "store/local_store.h"
#include "support/quick_repository.h"
#include "support/tar_maker.h"
#include "support/test_repository.h"

namespace davit::test {

std::map<std::string, std::string> members_of(const std::string& stream) {
  std::map<std::string, std::string> members;
  archive::TarReader reader(in_pieces(stream, 1 << 20));
  while (const auto member = reader.next_member()) {
    std::string name = member->name;
    while (!name.empty() && name.back() == '/') name.pop_back();
    std::string value;
    for (base::ByteView part; !(part = reader.read()).empty();) value += base::as_text(part);
    if (member->type == archive::TarMember::Type::directory) value = "dir";
    if (member->type == archive::TarMember::Type::symlink) value = "-> " + member->link_target;
    if (member->type == archive::TarMember::Type::hard_link) value = "= " + member->link_target;
    EXPECT_TRUE(members.emplace(name, value).second) << name << " twice";
  }
  return members;
}

ImageFixture::ImageFixture(bool real) {
  if (!real) {
    repository_ = make_repository();
    return;
  }
  make_quick_repository(repository_path(), kPassword);
  repository_ =
      repo::Repository::open(std::make_shared<store::LocalStore>(repository_path()), kPassword);
}

ImageFixture::Saved ImageFixture::save(const std::string& stream, const std::string& name,
                                       size_t piece, archive::ImageStreamOptions options,
                                       std::vector<archive::ExtraFile> files) {
  repository_->refresh_index();
  repo::UploadSession session(*repository_);
  archive::ContainerFiles container;
  container.name = name;
  container.files = std::move(files);
  container.time = base::Time(std::chrono::seconds(1'700'000'000));
  Saved saved;
  saved.result = archive::archive_container(*repository_, session, container,
                                            in_pieces(stream, piece), options);
  session.finish();
  saved.counts = session.counts();
  repo::Snapshot snapshot;
  snapshot.time.time = container.time;
  snapshot.tree = saved.result.tree;
  snapshot.paths = {"/containers/" + name};
  snapshot.hostname = "test";
  saved.snapshot = repository_->save_snapshot(snapshot);
  return saved;
}

std::string ImageFixture::load(const base::Id& tree, const std::string& name, size_t piece) {
  restore::ImageStream stream(*repository_, tree, "/containers/" + name + "/image", {});
  std::string all;
  base::Bytes buffer(piece);
  while (const size_t count = stream.read(buffer))
    all.append(reinterpret_cast<const char*>(buffer.data()), count);
  EXPECT_EQ(all.size(), stream.size_bytes());
  return all;
}

}  // namespace davit::test
