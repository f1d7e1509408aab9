// Runs one operation of the volume driver's repository engine, as the daemon's jobs do it, so that
// a benchmark can set it beside one run of restic. The password is RESTIC_PASSWORD's.
//   davit-engine-bench init REPOSITORY
//   davit-engine-bench backup REPOSITORY DIRECTORY SCAN_CACHE
//   davit-engine-bench image-backup REPOSITORY <STREAM    as archive_container
//   davit-engine-bench image-restore REPOSITORY >STREAM
//   davit-engine-bench restore REPOSITORY TARGET          the newest snapshot, into a new directory
//   davit-engine-bench check|check-read-data|prune REPOSITORY
//   davit-engine-bench forget-oldest REPOSITORY
// Prints as JSON how long opening the repository took (a daemon does that once) and how long the
// work.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "archive/archiver.h"
#include "archive/image_stream.h"
#include "base/errors.h"
#include "base/fd.h"
#include "repo/lock.h"
#include "repo/repository.h"
#include "repo/upload.h"
#include "restore/image_stream.h"
#include "restore/restorer.h"
#include "store/open.h"
#include "upkeep/check.h"
#include "upkeep/prune.h"

namespace {

using namespace davit;
using repo::LockMode;

const std::string kPath = "/volumes/bench";

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

std::unique_ptr<repo::Lock> lock(repo::Repository& repository, LockMode mode) {
  return repo::Lock::take(repository, mode, {.host = "bench"});
}

void backup(repo::Repository& repository, const std::string& directory,
            const std::string& scan_cache) {
  const auto held = lock(repository, LockMode::shared);
  const base::Fd root = base::open_file(directory, O_RDONLY | O_DIRECTORY);
  repository.refresh_index();
  const auto snapshots = repository.load_snapshots();
  repo::UploadSession session(repository);
  archive::Source source;
  source.directory = root.get();
  source.path = kPath;
  archive::Options options;
  options.scan_cache_path = scan_cache;
  if (!snapshots.empty()) options.parent = snapshots.back().id;
  repo::Snapshot snapshot;
  snapshot.time.time = base::SystemClock().now();
  const archive::Result result = archive::archive_tree(repository, session, source, options);
  session.finish();
  snapshot.tree = result.tree;
  snapshot.parent = options.parent;
  snapshot.paths = {kPath};
  snapshot.hostname = "bench";
  repository.save_snapshot(snapshot);
  archive::commit_scan_cache(scan_cache);
  held->release();
}

const std::string kContainer = "bench";

void image_backup(repo::Repository& repository) {
  const auto held = lock(repository, LockMode::shared);
  repository.refresh_index();
  repo::UploadSession session(repository);
  const auto next = [] {
    base::Bytes bytes(64 << 10);  // what a pipe holds
    const ssize_t count = ::read(STDIN_FILENO, bytes.data(), bytes.size());
    if (count < 0) base::throw_errno("the stream", errno);
    bytes.resize(static_cast<size_t>(count));
    return bytes;
  };
  repo::Snapshot snapshot;
  snapshot.time.time = base::SystemClock().now();
  snapshot.tree =
      archive::archive_container(repository, session, {kContainer, {}, {}}, next, {}).tree;
  session.finish();
  snapshot.paths = {"/containers/" + kContainer};
  snapshot.hostname = "bench";
  repository.save_snapshot(snapshot);
  held->release();
}

void image_restore(repo::Repository& repository) {
  const auto held = lock(repository, LockMode::shared);
  repository.refresh_index();
  const auto snapshots = repository.load_snapshots();
  if (snapshots.empty()) throw base::NotFound("no snapshot");
  restore::ImageStream stream(repository, snapshots.back().snapshot.tree,
                              "/containers/" + kContainer + "/image", {});
  base::Bytes buffer(256 << 10);
  while (const size_t count = stream.read(buffer))
    if (std::fwrite(buffer.data(), 1, count, stdout) != count)
      base::throw_errno("the stream", errno);
  held->release();
}

void restore(repo::Repository& repository, const std::string& target) {
  const auto held = lock(repository, LockMode::shared);
  repository.refresh_index();
  const auto snapshots = repository.load_snapshots();
  if (snapshots.empty()) throw base::NotFound("no snapshot");
  if (::mkdir(target.c_str(), 0700) != 0) base::throw_errno(target, errno);
  const base::Fd root = base::open_file(target, O_RDONLY | O_DIRECTORY);
  const auto result =
      restore::restore_tree(repository, snapshots.back().snapshot.tree, kPath, root.get(), {});
  if (result.problem_count > 0) throw base::Error(result.problems.at(0));
  held->release();
}

void check(repo::Repository& repository, bool read_data) {
  const auto held = lock(repository, LockMode::shared);
  upkeep::CheckOptions options;
  options.read_data = read_data;
  const auto report = upkeep::check(repository, options);
  if (!report.ok()) throw base::Corrupt(report.errors.at(0));
  held->release();
}

void prune(repo::Repository& repository) {
  auto shared = lock(repository, LockMode::shared);
  const upkeep::PrunePlan plan = upkeep::plan_prune(repository, {});
  upkeep::execute_prune(repository, plan, {}, [&](const auto& second_phase) {
    shared->release();
    const auto held = lock(repository, LockMode::exclusive);
    second_phase();
    held->release();
  });
}

void forget_oldest(repo::Repository& repository) {
  const auto snapshots = repository.load_snapshots();
  if (snapshots.size() < 2) throw base::UsageError("there is no second snapshot");
  repository.store().remove({store::Kind::snapshot, snapshots.front().id});
}

int run(int count, char** arguments) {
  const char* password = std::getenv("RESTIC_PASSWORD");
  if (count < 3 || !password) throw base::UsageError("see the top of bench/engine_bench.cc");
  const std::string verb = arguments[1], path = arguments[2];
  const auto argument = [&](int number) {
    if (number >= count) throw base::UsageError(verb + " needs more arguments");
    return std::string(arguments[number]);
  };
  const auto start = std::chrono::steady_clock::now();
  const auto repository = verb == "init"
                              ? repo::Repository::init(store::open_store(path), password)
                              : repo::Repository::open(store::open_store(path), password);
  const double open_seconds = seconds_since(start);
  if (verb == "backup")
    backup(*repository, argument(3), argument(4));
  else if (verb == "image-backup")
    image_backup(*repository);
  else if (verb == "image-restore")
    image_restore(*repository);
  else if (verb == "restore")
    restore(*repository, argument(3));
  else if (verb == "check" || verb == "check-read-data")
    check(*repository, verb == "check-read-data");
  else if (verb == "prune")
    prune(*repository);
  else if (verb == "forget-oldest")
    forget_oldest(*repository);
  else if (verb != "init")
    throw base::UsageError("no such verb: " + verb);
  if (verb == "image-restore")
    return std::fflush(stdout) == 0 ? 0 : 1;  // nothing behind the stream
  std::printf("{\"open_seconds\": %.4f, \"work_seconds\": %.4f}\n", open_seconds,
              seconds_since(start) - open_seconds);
  return 0;
}

}  // namespace

int main(int count, char** arguments) {
  try {
    return run(count, arguments);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "davit-engine-bench: %s\n", error.what());
    return 1;
  }
}
