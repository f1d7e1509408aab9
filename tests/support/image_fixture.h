// A repository, and image streams into it and out of it again.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "archive/image_stream.h"
#include "repo/repository.h"
#include "repo/upload.h"
#include "restore/image_stream.h"
#include "support/temp_dir.h"

namespace davit::test {

// What is in a stream: by name without slashes at its ends; "dir", "-> target", "= target" of hard
// links, else the content. Read by archive::TarReader.
std::map<std::string, std::string> members_of(const std::string& stream);

class ImageFixture {
 public:
  // `real`: with config and key files, for restic.
  explicit ImageFixture(bool real = false);

  struct Saved {
    archive::ImageStreamResult result;
    repo::UploadCounts counts;
    base::Id snapshot;
  };
  // As the container `name`, with a snapshot. The stream comes in pieces of `piece` bytes.
  Saved save(const std::string& stream, const std::string& name = "web", size_t piece = 100'000,
             archive::ImageStreamOptions options = {}, std::vector<archive::ExtraFile> files = {});
  // The image of that container, read with a buffer of `piece` bytes; checks that it is as long as
  // it said.
  std::string load(const base::Id& tree, const std::string& name = "web", size_t piece = 70'000);

  repo::Repository& repository() { return *repository_; }
  const std::string& path() const { return directory_.path(); }
  std::string repository_path() const { return directory_ / "repository"; }
  static constexpr const char* kPassword = "quick";

 private:
  TempDir directory_;
  std::unique_ptr<repo::Repository> repository_;
};

}  // namespace davit::test
