#include "repo/arrived_packs.h"

#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>
#include <utility>
#include <vector>

#include "base/crew.h"
#include "base/errors.h"
#include "base/files.h"
#include "base/log.h"
#include "repo/index_file.h"
#include "repo/pack_header.h"
#include "repo/repository.h"

namespace davit::repo {

namespace {

using base::Id;

constexpr std::string_view kPrefix = "index.arrived-";
constexpr uint64_t kMaxList = 64 << 20;
constexpr size_t kLengthSize = 4;
constexpr size_t kIndexBlobs = 50'000;

bool lock_file(const base::Fd& file) {
  return ::flock(file.get(), LOCK_EX | LOCK_NB) == 0;
}

std::vector<std::string> lists_in(const std::string& directory) {
  std::vector<std::string> paths;
  try {
    for (const std::string& name : base::list_directory(directory))
      if (name.starts_with(kPrefix)) paths.push_back(directory + "/" + name);
  } catch (const base::IoError& error) {
    spdlog::warn("lists of packs that arrived cannot be looked for: {}", error.what());
  }
  return paths;
}

// The list's file, where its session is gone.
base::Fd find_abandoned(const std::string& path) {
  base::Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (file && !lock_file(file)) file.reset();
  return file;
}

// As far as it is whole.
IndexFileContent read_list(const base::Fd& file, const crypto::Key& key) {
  IndexFileContent content;
  struct stat status;
  if (::fstat(file.get(), &status) != 0 || static_cast<uint64_t>(status.st_size) > kMaxList)
    return content;
  base::Bytes bytes(static_cast<size_t>(status.st_size));
  try {
    bytes.resize(base::pread_up_to(file.get(), bytes, 0));
  } catch (const base::IoError& error) {
    spdlog::warn("a list of packs that arrived cannot be read: {}", error.what());
    return content;
  }
  for (std::span<uint8_t> rest = bytes; rest.size() > kLengthSize;) {
    const size_t length = base::load_le32(rest.data());
    rest = rest.subspan(kLengthSize);
    if (length > rest.size()) break;
    try {
      parse_index(
          crypto::open_in_place(key, rest.first(length)),
          [&](const Id& pack, std::span<const PackBlob> blobs) { content.add(pack, blobs); });
    } catch (const base::Corrupt&) {
      break;
    }
    rest = rest.subspan(length);
  }
  return content;
}

bool is_indexed(const Index& index, const Id& pack, const PackBlob& blob) {
  const auto copies = index.find_all(blob.type, blob.id);
  return std::any_of(copies.begin(), copies.end(),
                     [&](const BlobLocation& copy) { return copy.pack == pack; });
}

// Those that are in the store as they were noted, and in no index.
IndexFileContent still_there(Repository& repository, const IndexFileContent& noted) {
  std::vector<char> is_there(noted.packs.size());
  store::Store& store = repository.store();
  base::for_each_parallel("look for packs", store.connections(), noted.packs.size(), [&](size_t i) {
    const auto& pack = noted.packs[i];
    const auto blobs = noted.blobs_of(pack);
    if (blobs.empty() || is_indexed(repository.index(), pack.id, blobs.front())) return;
    is_there[i] = store.find_size({store::Kind::data, pack.id}) == pack_size(blobs);
  });
  IndexFileContent content;
  for (size_t i = 0; i < noted.packs.size(); ++i)
    if (is_there[i]) content.add(noted.packs[i].id, noted.blobs_of(noted.packs[i]));
  return content;
}

void write_index(Repository& repository, const IndexFileContent& content) {
  IndexEncoder encoder;
  IndexFileContent part;
  const auto save = [&] {
    const Id file = repository.save_unpacked(store::Kind::index, encoder.finish());
    repository.index().add_file(file, part);
    part.clear();
  };
  for (const auto& pack : content.packs) {
    encoder.add(pack.id, content.blobs_of(pack));
    part.add(pack.id, content.blobs_of(pack));
    if (encoder.blob_count() >= kIndexBlobs) save();
  }
  if (encoder.blob_count() > 0) save();
}

}  // namespace

ArrivedPacks::ArrivedPacks(const std::string& directory, const crypto::Key& key)
    : path_(directory + "/" + std::string(kPrefix) + base::make_uuid()), key_(key) {
  try {
    base::make_directories(directory);
    file_ = base::open_file(path_, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0600);
  } catch (const base::Error& error) {
    give_up(error.what());
    return;
  }
  if (!lock_file(file_)) give_up("it cannot be locked");
}

void ArrivedPacks::give_up(const char* why) {
  spdlog::warn(
      "what arrived in the repository is not noted in {}, and would be sent again if this run "
      "failed: {}",
      path_, why);
  file_.reset();
  ::unlink(path_.c_str());
}

void ArrivedPacks::add(const Id& pack, std::span<const PackBlob> blobs) {
  if (!file_) return;
  IndexEncoder encoder;
  encoder.add(pack, blobs);
  base::Bytes record(kLengthSize);
  crypto::seal(key_, encoder.finish(), record);
  base::store_le32(record.data(), static_cast<uint32_t>(record.size() - kLengthSize));
  try {
    base::write_all(file_.get(), record);
  } catch (const base::Error& error) {
    // The records before it stay good.
    spdlog::warn("{} cannot be written: {}", path_, error.what());
    file_.reset();
  }
}

void ArrivedPacks::forget() {
  ::unlink(path_.c_str());
  file_.reset();
}

size_t adopt_arrived_packs(Repository& repository, const std::function<void()>& make_sure) {
  const std::string& directory = repository.index_cache_directory();
  if (directory.empty()) return 0;
  size_t adopted = 0;
  for (const std::string& path : lists_in(directory)) {
    const base::Fd file = find_abandoned(path);
    if (!file) continue;
    if (make_sure) make_sure();
    const IndexFileContent there = still_there(repository, read_list(file, repository.key()));
    if (!there.packs.empty()) {
      write_index(repository, there);
      adopted += there.packs.size();
    }
    ::unlink(path.c_str());
  }
  if (adopted > 0)
    spdlog::info("{} packs that a run which did not end well had sent are of use", adopted);
  return adopted;
}

}  // namespace davit::repo
