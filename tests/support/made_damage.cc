#include "support/made_damage.h"

#include "base/errors.h"
#include "crypto/scrypt.h"
#include "crypto/seal.h"
#include "crypto/sha256.h"
#include "repo/small_files.h"
#include "repo/tree.h"

namespace davit::test {

MadeDamage::MadeDamage(int snapshots) {
  const crypto::Key master = crypto::Key::random();
  repo::KeyFile key;
  key.created.time = base::parse_rfc3339("2026-11-01T00:00:00Z");
  key.hostname = key.username = "test";
  key.scrypt_n = 16;
  key.scrypt_r = 8;
  key.scrypt_p = 1;
  key.salt.resize(64);
  crypto::random_bytes(key.salt);
  const auto user = crypto::Key::from_bytes(
      crypto::derive("password", key.salt, key.scrypt_n, key.scrypt_r, key.scrypt_p));
  crypto::seal(user, repo::encode_master_key(master), key.data);
  const base::Bytes json = repo::encode_key_file(key);
  const base::Id key_id = crypto::sha256(json);
  store_->put({store::Kind::key, key_id}, json);
  key.username = "spare";
  spare_key_ = repo::encode_key_file(key);
  repo::ConfigFile config;
  crypto::random_bytes(config.id.bytes);
  config.chunker_polynomial = repo::Polynomial::parse("3da3358b4dc173");
  base::Bytes sealed;
  crypto::seal(master, repo::encode_config(config), sealed);
  store_->put(store::Name{}, sealed);
  repository_ = std::make_unique<repo::Repository>(store_, config, master, key_id);

  for (int number = 0; number < snapshots; ++number) {
    // Some files of all, some of a few, some of one; every second snapshot has the same "deep".
    Files files{{"same/one", noise(1, 45'000)},
                {"same/two", noise(2, 12'000)},
                {"deep/" + std::to_string(number / 2) + "/a/b/file", noise(10 + number / 2, 8'000)},
                {"deep/" + std::to_string(number / 2) + "/text", std::string(30'000, 'x') + "y"},
                {"own" + std::to_string(number), noise(100 + number, 15'000)},
                {"empty", ""}};
    snapshots_[save_files(*repository_, files, packs_of(24 << 10))] = std::move(files);
  }
  repository_->index().for_each([&](const repo::IndexEntry& entry) {
    packs_[entry.location.pack].push_back(
        {{entry.type, entry.id}, entry.location.offset, entry.location.length});
  });
}

std::unique_ptr<repo::Repository> MadeDamage::open(std::shared_ptr<store::Store> store) const {
  return std::make_unique<repo::Repository>(std::move(store), repository_->config(),
                                            repository_->key(), repository_->key_id());
}

base::Id MadeDamage::add_key(repo::Repository& repository) const {
  const base::Id id = crypto::sha256(spare_key_);
  repository.store().put({store::Kind::key, id}, spare_key_);
  return id;
}

std::vector<MadeDamage::Blob> MadeDamage::blobs_at(const base::Id& pack, uint64_t offset) const {
  std::vector<Blob> found;
  for (const auto& each : packs_.at(pack))
    if (each.offset <= offset && offset < uint64_t{each.offset} + each.length)
      found.push_back(each.blob);
  return found;
}

std::vector<MadeDamage::Blob> MadeDamage::blobs_in(const base::Id& pack) const {
  std::vector<Blob> found;
  for (const auto& each : packs_.at(pack)) found.push_back(each.blob);
  return found;
}

void MadeDamage::walk(const base::Id& tree, const std::string& path,
                      const OnDirectory& on_directory, const OnFile& on_file) const {
  if (!on_directory(path.empty() ? "/" : path, tree)) return;
  for (const auto& node : repo::parse_tree(repository_->load_blob(repo::BlobType::tree, tree))) {
    if (node.subtree)
      walk(*node.subtree, path + "/" + node.name, on_directory, on_file);
    else
      on_file(path + "/" + node.name, node);
  }
}

std::set<MadeDamage::Place> MadeDamage::places_of(const std::set<Blob>& blobs) const {
  std::set<Place> places;
  for (const auto& made : snapshots_) {
    const base::Id& id = made.first;
    walk(
        repository_->load_snapshot(id).tree, "",
        [&](const std::string& path, const base::Id& tree) {
          const bool is_lost = blobs.contains({repo::BlobType::tree, tree});
          if (is_lost) places.insert({id, path});
          return !is_lost;  // what is below it cannot be seen any more
        },
        [&](const std::string& path, const repo::Node& node) {
          for (const auto& content : node.content)
            if (blobs.contains({repo::BlobType::data, content})) places.insert({id, path});
        });
  }
  return places;
}

Files MadeDamage::files_without(const base::Id& snapshot, const std::set<Blob>& lost) const {
  Files files;
  walk(
      repository_->load_snapshot(snapshot).tree, "",
      [&](const std::string&, const base::Id& tree) {
        return !lost.contains({repo::BlobType::tree, tree});
      },
      [&](const std::string& path, const repo::Node& node) {
        std::string& content = files[path.substr(1)];
        for (const auto& id : node.content)
          if (!lost.contains({repo::BlobType::data, id}))
            content += base::as_text(repository_->load_blob(repo::BlobType::data, id));
      });
  return files;
}

std::set<std::pair<std::string, std::string>> places_in(const std::vector<std::string>& errors) {
  std::set<std::pair<std::string, std::string>> places;
  for (const std::string& error : errors) {
    if (!error.starts_with("snapshot ") || error.substr(17, 2) != ", ") continue;
    const size_t end = error.find(": ", 19);
    if (end != std::string::npos) places.emplace(error.substr(9, 8), error.substr(19, end - 19));
  }
  return places;
}

}  // namespace davit::test
