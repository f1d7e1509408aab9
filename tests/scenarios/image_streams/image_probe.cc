// Image streams between an engine's command line and a repository, for scenarios:
//   image_probe save REPOSITORY NAME <STREAM     makes the repository where there is none; prints
//                                                how many bytes of content are new
//   image_probe load REPOSITORY NAME >STREAM     the newest of that container
// The password is RESTIC_PASSWORD's. Exit 3: the stream is refused.
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "archive/image_stream.h"
#include "base/errors.h"
#include "repo/repository.h"
#include "repo/upload.h"
#include "restore/image_stream.h"
#include "store/open.h"

namespace {

using namespace davit;

base::Bytes read_some() {
  base::Bytes bytes(256 << 10);
  ssize_t count;
  do count = ::read(STDIN_FILENO, bytes.data(), bytes.size());
  while (count < 0 && errno == EINTR);
  if (count < 0) base::throw_errno("cannot read the stream", errno);
  bytes.resize(static_cast<size_t>(count));
  return bytes;
}

void save(repo::Repository& repository, const std::string& name) {
  repository.refresh_index();
  repo::UploadSession session(repository);
  archive::ContainerFiles container;
  container.name = name;
  container.time = base::SystemClock().now();
  const auto result = archive::archive_container(repository, session, container, read_some, {});
  session.finish();
  repo::Snapshot snapshot;
  snapshot.time.time = container.time;
  snapshot.tree = result.tree;
  snapshot.paths = {"/containers/" + name};
  snapshot.hostname = "probe";
  repository.save_snapshot(snapshot);
  std::printf("%llu %llu\n", static_cast<unsigned long long>(session.counts().data_added_bytes),
              static_cast<unsigned long long>(result.bytes));
}

void load(repo::Repository& repository, const std::string& name) {
  repository.refresh_index();
  const auto snapshots = repository.load_snapshots();
  for (auto each = snapshots.rbegin(); each != snapshots.rend(); ++each) {
    if (each->snapshot.paths != std::vector<std::string>{"/containers/" + name}) continue;
    restore::ImageStream stream(repository, each->snapshot.tree, "/containers/" + name + "/image",
                                {});
    base::Bytes buffer(256 << 10);
    uint64_t told = 0;
    while (const size_t count = stream.read(buffer)) {
      told += count;
      if (std::fwrite(buffer.data(), 1, count, stdout) != count)
        base::throw_errno("cannot write the stream", errno);
    }
    if (std::fflush(stdout) != 0) base::throw_errno("cannot write the stream", errno);
    if (told != stream.size_bytes()) throw base::Error("the stream is not as long as it said");
    return;
  }
  throw base::NotFound("no snapshot of " + name);
}

int run(int count, char** arguments) {
  const char* password = std::getenv("RESTIC_PASSWORD");
  if (count != 4 || !password)
    throw base::UsageError("see the top of image_probe.cc");
  const std::string verb = arguments[1];
  const auto open = [&]() -> std::unique_ptr<repo::Repository> {
    try {
      return repo::Repository::open(store::open_store(arguments[2]), password);
    } catch (const base::NoRepository&) {
      return repo::Repository::init(store::open_store(arguments[2]), password);
    }
  };
  const auto repository = open();
  verb == "save" ? save(*repository, arguments[3]) : load(*repository, arguments[3]);
  return 0;
}

}  // namespace

int main(int count, char** arguments) {
  try {
    return run(count, arguments);
  } catch (const base::Corrupt& error) {
    std::fprintf(stderr, "image_probe: %s\n", error.what());
    return 3;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "image_probe: %s\n", error.what());
    return 1;
  }
}
