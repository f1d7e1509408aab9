#include "support/volume_fixture.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "store/local_store.h"
#include "support/test_repository.h"

namespace davit::test {

namespace {
std::shared_ptr<store::Store> make_store(const std::string& path) {
  auto store = std::make_shared<store::LocalStore>(path);
  store->prepare();
  return store;
}
}  // namespace

VolumeFixture::VolumeFixture(Kind kind, const std::string& parent)
    : directory_(parent), open_([this] { return make_store(repository_path()); }) {
  base::make_directories(directory_ / "volumes", 0711);
  repository_ =
      kind == Kind::real ? repo::Repository::init(open_(), kPassword) : make_repository(open_());
  repository_->refresh_index();
}

VolumeFixture::VolumeFixture(OpenStore open) : open_(std::move(open)) {
  base::make_directories(directory_ / "volumes", 0711);
  repository_ = repo::Repository::init(open_(), kPassword);
  repository_->refresh_index();
}

void VolumeFixture::reopen() {
  repository_ = repo::Repository::open(open_(), kPassword);
  if (!index_cache.empty()) repository_->use_index_cache(index_cache);
  repository_->refresh_index();
}

VolumeFixture::Saved VolumeFixture::save(const std::string& name, archive::Options options,
                                         std::vector<archive::ExtraFile> extras,
                                         const std::string& path) {
  const base::Fd root = base::open_file(volume(name), O_RDONLY | O_DIRECTORY);
  const base::Fd parent = base::open_file(directory_ / "volumes", O_RDONLY | O_DIRECTORY);
  archive::Source source;
  source.directory = root.get();
  source.parent = parent.get();
  source.path = path.empty() ? "/volumes/" + name : path;
  source.extras = std::move(extras);
  repo::UploadSession session(*repository_, upload);
  Saved saved;
  repo::Snapshot snapshot;
  snapshot.time.time = base::SystemClock().now();
  saved.result = archive::archive_tree(*repository_, session, source, options);
  session.finish();
  saved.counts = session.counts();
  snapshot.tree = saved.result.tree;
  snapshot.paths = {source.path};
  snapshot.hostname = "test";
  saved.snapshot = repository_->save_snapshot(snapshot);
  if (!options.scan_cache_path.empty()) archive::commit_scan_cache(options.scan_cache_path);
  return saved;
}

restore::Result VolumeFixture::restore(const base::Id& tree, const std::string& from,
                                       const std::string& name, restore::Options options) {
  base::make_directories(volume(name), 0700);
  const base::Fd root = base::open_file(volume(name), O_RDONLY | O_DIRECTORY);
  return restore::restore_tree(*repository_, tree, from[0] == '/' ? from : "/volumes/" + from,
                               root.get(), options);
}

base::Id VolumeFixture::put_tree(const std::string& json) {
  repo::UploadSession session(*repository_);
  const base::Id id = session.save_blob(repo::BlobType::tree, base::as_bytes(json)).id;
  session.finish();
  return id;
}

base::Id VolumeFixture::put_snapshot(const base::Id& tree, const std::string& path) {
  repo::Snapshot snapshot;
  snapshot.time.time = base::SystemClock().now();
  snapshot.tree = tree;
  snapshot.paths = {path};
  snapshot.hostname = "test";
  return repository_->save_snapshot(snapshot);
}

}  // namespace davit::test
