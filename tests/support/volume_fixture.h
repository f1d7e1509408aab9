// A repository in a directory, a place for volumes beside it, and the two verbs: for tests of
// saving and restoring trees.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "archive/archiver.h"
#include "repo/repository.h"
#include "repo/upload.h"
#include "restore/restorer.h"
#include "support/temp_dir.h"

namespace davit::test {

class VolumeFixture {
 public:
  static constexpr const char* kPassword = "test";

  // `real`: with config and key files, for restic and for opening it again; that costs scrypt's
  // second.
  enum class Kind { quick, real };
  // `parent`: as for TempDir.
  explicit VolumeFixture(Kind kind = Kind::quick, const std::string& parent = "");
  // A real one, where `open` says.
  using OpenStore = std::function<std::shared_ptr<store::Store>()>;
  explicit VolumeFixture(OpenStore open);

  struct Saved {
    archive::Result result;
    base::Id snapshot;
    repo::UploadCounts counts;
  };
  // Saves volumes/NAME as `path`, or /volumes/NAME: archive, finish, snapshot, commit of the scan
  // cache.
  Saved save(const std::string& name, archive::Options options = {},
             std::vector<archive::ExtraFile> extras = {}, const std::string& path = "");
  repo::UploadOptions upload;  // of save()
  std::string index_cache;     // its directory, from reopen() on; "": none
  // The scan cache that tests hand to save() and restore().
  std::string cache_of(const std::string& name) const { return directory_ / (name + ".cache"); }
  std::string volume(const std::string& name) const { return directory_ / ("volumes/" + name); }

  // Into volumes/NAME, which is made, from the snapshot's /volumes/FROM, or FROM if that is a path.
  restore::Result restore(const base::Id& tree, const std::string& from, const std::string& name,
                          restore::Options options = {});
  // A tree given as raw JSON, as a hostile writer would store it; and a snapshot of one.
  base::Id put_tree(const std::string& json);
  base::Id put_snapshot(const base::Id& tree, const std::string& path);

  const std::string& path() const { return directory_.path(); }
  std::string repository_path() const { return directory_ / "repository"; }
  repo::Repository& repository() { return *repository_; }
  // As another process would see it: opened again, with a fresh index. Real ones only.
  void reopen();

 private:
  TempDir directory_;
  OpenStore open_;
  std::unique_ptr<repo::Repository> repository_;
};

}  // namespace davit::test
