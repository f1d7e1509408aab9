#include "repo/repository.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <unordered_map>
#include <utility>

#include "base/crew.h"
#include "base/errors.h"
#include "base/log.h"
#include "base/unreadable.h"
#include "base/synchronized.h"
#include "crypto/sha256.h"
#include "repo/codec.h"
#include "repo/keyring.h"

namespace davit::repo {

namespace {

using base::Bytes;
using base::Id;
using store::Kind;
using store::Name;

constexpr uint64_t kMaxConfigFile = 1 << 20;

std::string host_name() {
  std::array<char, 256> name{};
  return ::gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "localhost";
}

bool has_any(store::Store& store, Kind kind) {
  bool any = false;
  store.list(kind, [&](const store::FileInfo&) { any = true; });
  return any;
}

uint64_t max_file_size(Kind kind) {
  return kind == Kind::index ? kMaxUnpackedIndex : kMaxUnpackedSmall;
}

// Blobs are read into a buffer of their thread, which an unusually large one does not keep.
struct ReadBuffer {
  static constexpr size_t kKeep = 16 << 20;
  Bytes& bytes;
  explicit ReadBuffer(size_t size) : bytes(buffer()) { bytes.resize(size); }
  ~ReadBuffer() {
    if (bytes.capacity() > kKeep) Bytes().swap(bytes);
  }
  static Bytes& buffer() {
    thread_local Bytes bytes;
    return bytes;
  }
};

}  // namespace

Compression parse_compression(std::string_view word) {
  if (word == "auto") return Compression::automatic;
  if (word == "off") return Compression::off;
  if (word == "max") return Compression::max;
  throw base::UsageError("compression is auto, off or max, not \"" + std::string(word) + "\"");
}

struct Repository::SnapshotCache {
  base::Synchronized<std::unordered_map<Id, Snapshot>> snapshots;
};

Repository::Repository(std::shared_ptr<store::Store> store, ConfigFile config, crypto::Key key,
                       base::Id key_id)
    : store_(std::move(store)),
      config_(config),
      key_(key),
      key_id_(key_id),
      chunker_(config.chunker_polynomial),
      index_(std::make_unique<Index>()),
      snapshot_cache_(std::make_unique<SnapshotCache>()) {}

Repository::~Repository() = default;

std::unique_ptr<Repository> Repository::init(std::shared_ptr<store::Store> store,
                                             std::string_view password) {
  store->prepare();
  if (store->find_size(Name{}))
    throw base::Conflict("there is a repository in " + store->describe() + " already");
  for (const Kind kind : {Kind::snapshot, Kind::index, Kind::data})
    if (has_any(*store, kind))
      throw base::Conflict(store->describe() + " has no config, but " + store::kind_name(kind) +
                           " files: this is a damaged repository, not an empty place");
  OpenedKey key;
  if (has_any(*store, Kind::key)) {
    try {
      key = open_with_password(*store, password);
    } catch (const base::WrongPassword&) {
      throw base::Conflict(store->describe() + " has keys already, and not of this password");
    }
  } else {
    key.master = crypto::Key::random();
    key.id = add_key(*store, key.master, password, "root", host_name());
  }
  ConfigFile config;
  crypto::random_bytes(config.id.bytes);
  config.chunker_polynomial = Polynomial::random_irreducible();
  Bytes sealed;
  crypto::seal(key.master, encode_config(config), sealed);
  store->put(Name{}, sealed);
  return std::make_unique<Repository>(std::move(store), config, key.master, key.id);
}

std::unique_ptr<Repository> Repository::open(std::shared_ptr<store::Store> store,
                                             std::string_view password) {
  if (!store->find_size(Name{}))
    throw base::NoRepository("there is no repository in " + store->describe());
  const OpenedKey key = open_with_password(*store, password);
  const auto read = [&](base::ByteView sealed) {
    return parse_config(crypto::open(key.master, sealed));
  };
  ConfigFile config;
  try {
    config = read(store->get(Name{}, kMaxConfigFile));
  } catch (const base::Corrupt&) {
    const auto is_whole = [&](base::ByteView sealed) {
      try {
        read(sealed);
        return true;
      } catch (const base::Corrupt&) {
        return false;
      }
    };
    if (!store->heal(Name{}, is_whole)) throw;
    config = read(store->get(Name{}, kMaxConfigFile));
  }
  if (config.version != 2)
    throw base::Unsupported("the repository in " + store->describe() +
                            " has format version 1; run \"restic migrate upgrade_repo_v2\" first");
  return std::make_unique<Repository>(std::move(store), config, key.master, key.id);
}

std::unique_ptr<Repository> Repository::in(std::shared_ptr<store::Store> other) const {
  return std::make_unique<Repository>(std::move(other), config_, key_, key_id_);
}

// ---- blobs

void Repository::load_blob_from(const BlobLocation& location, BlobType type, const Id& id,
                                Bytes& out) const {
  try {
    read_copy(location, type, id, out);
  } catch (const base::Error& error) {
    if (!base::is_damage(error) || !heal({.kind = Kind::data,
                                          .id = location.pack,
                                          .trees = type == BlobType::tree,
                                          .any_copy = true}))
      throw;
    read_copy(location, type, id, out);
  }
}

void Repository::read_copy(const BlobLocation& location, BlobType type, const Id& id,
                           Bytes& out) const {
  const auto where = [&] {
    return std::string(type_name(type)) + " blob " + id.hex() + " in pack " + location.pack.hex();
  };
  if (location.length <= crypto::kSealOverhead)
    throw base::Corrupt(where() + " has an impossible length in the index");
  const ReadBuffer buffer(location.length);
  try {
    store_->get_range({.kind = Kind::data,
                       .id = location.pack,
                       .trees = type == BlobType::tree,
                       .any_copy = true},
                      location.offset, buffer.bytes);
  } catch (const base::NotFound&) {
    throw base::Corrupt(where() + " cannot be read: the pack is missing");
  } catch (const base::Corrupt&) {
    throw base::Corrupt(where() + " cannot be read: the pack is too short");
  }
  try {
    if (location.plain_length == 0) {
      out.resize(location.length - crypto::kSealOverhead);
      crypto::open(key_, buffer.bytes, out);
    } else {
      out.resize(location.plain_length);
      decompress(crypto::open_in_place(key_, buffer.bytes), out);
    }
  } catch (const base::Corrupt& error) {
    throw base::Corrupt(where() + " is damaged: " + error.what());
  }
  if (crypto::sha256(out) != id) throw base::Corrupt(where() + " is damaged: it has another hash");
}

Bytes Repository::load_blob(BlobType type, const Id& id) const {
  const auto copies = index_->find_all(type, id);
  if (copies.empty())
    throw base::NotFound("no index of the repository names the " + std::string(type_name(type)) +
                         " blob " + id.hex());
  Bytes out;
  for (size_t i = 0;; ++i) {
    try {
      load_blob_from(copies[i], type, id, out);
      return out;
    } catch (const base::Error&) {
      if (i + 1 == copies.size()) throw;  // the last copy's failure is as good as any
    }
  }
}

// ---- whole files

bool Repository::heal(const Name& name) const {
  try {
    return heal_surely(name);
  } catch (const base::IoError& error) {
    spdlog::warn("{} cannot be put right: {}", store::to_string(name), error.what());
    return false;
  }
}

bool Repository::heal_surely(const Name& name) const {
  const auto is_whole = [&](base::ByteView bytes) {
    if (name.kind != Kind::config) return crypto::sha256(bytes) == name.id;
    try {
      return parse_config(crypto::open(key_, bytes)) == config_;
    } catch (const base::Error&) {
      return false;
    }
  };
  try {
    if (!store_->heal(name, is_whole)) return false;
  } catch (const base::Error& error) {
    const auto* io = dynamic_cast<const base::IoError*>(&error);
    if (io && io->transient()) throw;
    spdlog::warn("{} cannot be put right: {}", store::to_string(name), error.what());
    return false;
  }
  heal_watches_.with([&](const auto& watches) {
    for (const HealWatch* watch : watches) watch->on_healed_(name);
  });
  return true;
}

Repository::HealWatch::HealWatch(const Repository& repository,
                                 std::function<void(const Name&)> on_healed)
    : repository_(repository), on_healed_(std::move(on_healed)) {
  repository_.heal_watches_.lock()->push_back(this);
}

Repository::HealWatch::~HealWatch() {
  std::erase(*repository_.heal_watches_.lock(), this);
}

Bytes Repository::load_unpacked(Kind kind, const Id& id) const {
  try {
    return read_unpacked(kind, id);
  } catch (const base::Error& error) {
    if (!base::is_damage(error) || !heal({kind, id})) throw;
    return read_unpacked(kind, id);
  }
}

Bytes Repository::read_unpacked(Kind kind, const Id& id) const {
  Bytes file = store_->get({kind, id}, max_file_size(kind));
  if (crypto::sha256(file) != id)
    throw base::Corrupt(to_string(Name{kind, id}) + " is damaged: it has another hash");
  try {
    return decode_unpacked(crypto::open_in_place(key_, file), max_file_size(kind));
  } catch (const base::Corrupt& error) {
    throw base::Corrupt(to_string(Name{kind, id}) + " cannot be opened: " + error.what());
  }
}

Repository::SealedFile Repository::seal_unpacked(Kind kind, base::ByteView json) const {
  Bytes sealed;
  crypto::seal(key_, encode_unpacked(json), sealed);
  // Bad memory must not write a file that nobody can read.
  const Bytes again = decode_unpacked(crypto::open(key_, sealed), max_file_size(kind));
  if (!std::equal(again.begin(), again.end(), json.begin(), json.end()))
    throw base::Corrupt(std::string("a new ") + store::kind_name(kind) +
                        " file did not read back as it was written: memory or processor is faulty");
  const Id id = crypto::sha256(sealed);
  return {id, std::move(sealed)};
}

Id Repository::save_unpacked(Kind kind, base::ByteView json) const {
  const SealedFile file = seal_unpacked(kind, json);
  Name name{kind, file.id};
  name.is_hash = true;
  store_->put(name, file.bytes);
  return file.id;
}

// ---- snapshots

Snapshot Repository::load_snapshot(const Id& id) const {
  if (auto cached = snapshot_cache_->snapshots.with([&](auto& map) -> std::optional<Snapshot> {
        const auto found = map.find(id);
        return found == map.end() ? std::nullopt : std::optional(found->second);
      }))
    return std::move(*cached);
  Snapshot snapshot;
  try {
    snapshot = parse_snapshot(load_unpacked(Kind::snapshot, id));
  } catch (const base::NotFound&) {
    throw base::NotFound("there is no snapshot " + id.hex());
  }
  snapshot.id = id;
  snapshot_cache_->snapshots.lock()->insert_or_assign(id, snapshot);
  return snapshot;
}

Id Repository::save_snapshot(const Snapshot& snapshot) const {
  const Id id = save_unpacked(Kind::snapshot, encode_snapshot(snapshot));
  Snapshot saved = snapshot;
  saved.id = id;
  snapshot_cache_->snapshots.lock()->insert_or_assign(id, std::move(saved));
  return id;
}

std::vector<Repository::SnapshotFile> Repository::load_snapshots(
    const std::function<void(const Id&, const std::string&)>& on_error) const {
  std::vector<Id> ids;
  store_->list(Kind::snapshot, [&](const store::FileInfo& file) { ids.push_back(file.id); });
  std::sort(ids.begin(), ids.end());
  snapshot_cache_->snapshots.with([&](auto& map) {
    std::erase_if(map, [&](const auto& entry) {
      return !std::binary_search(ids.begin(), ids.end(), entry.first);
    });
  });

  std::vector<SnapshotFile> files(ids.size());
  std::vector<std::string> failures(ids.size());
  std::vector<char> gone(ids.size());
  base::for_each_parallel("snapshots", store_->connections(), ids.size(), [&](size_t i) {
    files[i].id = ids[i];
    try {
      files[i].snapshot = load_snapshot(ids[i]);
    } catch (const base::NotFound&) {
      gone[i] = true;  // removed since the listing
    } catch (const base::Error& error) {
      // Only the file itself may be at fault: a store that cannot be reached fails the whole call.
      if (!on_error || !base::is_damage(error)) throw;
      failures[i] = error.what();
    }
  });
  std::vector<SnapshotFile> loaded;
  for (size_t i = 0; i < ids.size(); ++i) {
    if (gone[i]) continue;
    if (!failures[i].empty()) {
      on_error(ids[i], failures[i]);
    } else {
      loaded.push_back(std::move(files[i]));
    }
  }
  std::sort(loaded.begin(), loaded.end(), [](const SnapshotFile& a, const SnapshotFile& b) {
    return std::pair(a.snapshot.time.time, a.id) < std::pair(b.snapshot.time.time, b.id);
  });
  return loaded;
}

}  // namespace davit::repo
