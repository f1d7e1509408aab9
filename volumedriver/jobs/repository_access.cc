#include "jobs/repository_access.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>

#include <nlohmann/json.hpp>

#include "base/errors.h"
#include "base/files.h"
#include "base/log.h"
#include "base/patience.h"
#include "base/sleep.h"
#include "crypto/sha256.h"
#include "jobs/mirror_urls.h"
#include "jobs/password.h"
#include "jobs/repository_cache.h"
#include "jobs/store_options.h"
#include "store/backoff.h"
#include "store/limited_store.h"
#include "store/open.h"

namespace davit::jobs {

using namespace std::chrono_literals;

namespace {

// How long the calls of one try to open the repository may be tried again.
constexpr auto kOpening = 1s;

// What write_file_atomic leaves when the process dies in it.
void remove_half_written(const std::string& directory) {
  for (const std::string& name : base::list_directory(directory))
    if (name.find(".tmp-") != std::string::npos) base::remove_file(directory + "/" + name);
}

}  // namespace

std::string cache_directory(const std::string& data_directory, const repo::Repository& repository) {
  return data_directory + "/cache/" + repository.id().hex().substr(0, 16);
}

RepositoryAccess::RepositoryAccess(const Settings& settings, std::string data_directory, std::string installation)
    : RepositoryAccess(settings, std::move(data_directory), std::move(installation), Timing()) {}

RepositoryAccess::RepositoryAccess(const Settings& settings, std::string data_directory, std::string installation,
                                   Timing timing)
    : settings_(settings), data_directory_(std::move(data_directory)), installation_(std::move(installation)),
      timing_(timing), mirror_book_(data_directory_ + "/state/mirrors") {
  remove_half_written(data_directory_ + "/secrets");
  remove_half_written(data_directory_ + "/state");
  remove_half_written(data_directory_ + "/state/mirrors");
  try {
    for (const std::string& repository : base::list_directory(data_directory_ + "/cache"))
      remove_half_written(data_directory_ + "/cache/" + repository);
  } catch (const base::IoError& error) {
    spdlog::warn("cannot tidy up the cache: {}", error.what());
  }
}

RepositoryAccess::~RepositoryAccess() = default;

repo::LockIdentity RepositoryAccess::identity() const {
  return {.host = host_name(settings_) + "-" + installation_, .user = "root"};
}

bool RepositoryAccess::is_ours(const repo::LockInfo& info) const {
  return info.lock.hostname.ends_with("-" + installation_);
}

std::string RepositoryAccess::embedded_path() const { return data_directory_ + "/repository"; }
std::string RepositoryAccess::marker_path() const { return data_directory_ + "/state/repository.json"; }

std::string RepositoryAccess::url() const {
  const std::string url = settings_.get("RESTIC_REPOSITORY");
  return url.empty() ? embedded_path() : url;
}

std::string RepositoryAccess::password() const { return read_password(settings_, data_directory_); }

std::string RepositoryAccess::describe_sources() const {
  return describe_password_source(settings_, data_directory_) + "\n" + describe_store_options(settings_) + "\n" +
         crypto::sha256(base::as_bytes(settings_.get("DAVIT_MIRRORS"))).hex();
}

std::shared_ptr<store::Store> RepositoryAccess::open_place(const std::string& url, Mirrors& mirrors) {
  // One limit around all copies: a mirror is not asked because the primary has to wait for its turn.
  const auto limited = [this](std::shared_ptr<store::Store> store) {
    return std::make_shared<store::LimitedStore>(std::move(store), [this](uint64_t bytes) { return reserve_download(bytes); });
  };
  const store::StoreOptions options = store_options(settings_, data_directory_);
  std::shared_ptr<store::Store> primary = store::open_store(url, options);
  std::vector<store::MirrorStore::Copy> copies;
  std::vector<std::pair<std::string, bool>> places;
  std::vector<std::string> names;
  for (const MirrorUrl& mirror : parse_mirrors(settings_.get("DAVIT_MIRRORS"))) {
    std::shared_ptr<store::Store> store = store::open_store(mirror.url, options);
    const std::string place = store->describe();
    const auto is_there = [&](const auto& other) { return other.first == place; };
    if (place == primary->describe() || std::any_of(places.begin(), places.end(), is_there))
      throw base::UsageError("DAVIT_MIRRORS names " + place + ", which is the repository itself or named twice");
    copies.push_back({std::move(store), store::is_local_url(mirror.url), mirror.append_only});
    places.emplace_back(place, mirror.append_only);
    names.push_back(place);
  }
  mirror_book_.set(places);
  mirror_book_.note_primary("");
  if (copies.empty()) return limited(std::move(primary));
  mirrors.removals = std::make_shared<MirrorRemovals>(mirror_book_, std::move(names));
  store::MirrorOptions with;
  with.before_remove = [removals = mirrors.removals](const store::Name& name) { removals->note(name); };
  with.on_change = [this] { mirror_book_.changed(); };
  with.on_repair = [this](const std::string& repair) {
    mirror_book_.add_repair(base::SystemClock().now(), repair);
  };
  with.on_away = [this](const std::string& why) { mirror_book_.note_primary(why); };
  mirrors.stores = std::make_shared<store::MirrorStore>(
      store::MirrorStore::Copy{std::move(primary), store::is_local_url(url), false}, std::move(copies), std::move(with));
  return limited(mirrors.stores);
}

void RepositoryAccess::note_open(const std::shared_ptr<repo::Repository>& repository, Mirrors mirrors) {
  mirrors.repository = repository;
  mirrors_.with([&](auto& all) {
    std::erase_if(all, [](const Mirrors& each) { return each.repository.expired(); });
    if (mirrors.stores) all.push_back(std::move(mirrors));
  });
  *open_.lock() = repository;
  mirror_book_.changed();
}

RepositoryAccess::Mirrors RepositoryAccess::find(const repo::Repository& repository) const {
  return mirrors_.with([&](const auto& all) {
    for (const Mirrors& each : all)
      if (each.repository.lock().get() == &repository) return each;
    return Mirrors();
  });
}

std::shared_ptr<store::MirrorStore> RepositoryAccess::find_mirrors(const repo::Repository& repository) const {
  return find(repository).stores;
}

std::shared_ptr<void> RepositoryAccess::note_prune(const repo::Repository& repository) const {
  const Mirrors mirrors = find(repository);
  if (!mirrors.removals) return nullptr;
  std::vector<base::Id> known;
  repository.store().list(store::Kind::snapshot, [&](const store::FileInfo& file) { known.push_back(file.id); });
  return mirrors.removals->begin_prune(std::move(known));
}

std::optional<std::string> RepositoryAccess::password_file() const {
  return find_password_file(settings_, data_directory_);
}

bool RepositoryAccess::password_generated() const {
  return base::find_file(data_directory_ + "/secrets/generated").has_value();
}

void RepositoryAccess::note_repository(const std::string& url, const base::Id& id) const {
  // A record of what was once found there, so that a repository that vanishes is never taken for a new one.
  base::make_directories(data_directory_ + "/state");
  const nlohmann::json note = {{"url", store::shown_url(url)}, {"id", id.hex()}};
  base::write_file_atomic(marker_path(), base::as_bytes(note.dump() + "\n"));
}

std::shared_ptr<repo::Repository> RepositoryAccess::find_open() const { return *open_.lock(); }

std::shared_ptr<repo::Repository> RepositoryAccess::get() {
  const base::Patience patience = base::patience();
  store::Backoff backoff(patience.limit);
  for (;;) {
    const auto began = std::chrono::steady_clock::now();
    std::optional<std::chrono::steady_clock::duration> pause;
    try {
      // Others wait until this has opened it, and some of them have little time.
      const base::PatienceScope short_one({std::min<std::chrono::milliseconds>(patience.limit, kOpening), patience.stop});
      return get_now();
    } catch (const base::IoError& error) {
      if (!error.transient()) throw;
      pause = backoff.next_pause(began, std::chrono::steady_clock::now(), base::random_fraction());
      if (!pause) throw;
    }
    if (!base::sleep_for(*pause, patience.stop)) throw base::Cancelled();
  }
}

std::shared_ptr<repo::Repository> RepositoryAccess::get_now() {
  std::lock_guard one(opening_);
  const std::string url = this->url();
  // Told before the password is read: where it changes meanwhile, the next call opens again.
  std::string source = describe_sources();
  const auto compression = repo::parse_compression(settings_.get("RESTIC_COMPRESSION"));
  if (auto repository = find_open(); repository && open_url_ == url && open_sources_ == source) {
    repository->set_compression(compression);
    return repository;
  }
  // What is open is not what is meant any more.
  open_.lock()->reset();

  const std::string shown = store::shown_url(url);
  std::string noted_url, noted_id;
  if (const auto bytes = base::find_file(marker_path())) {
    const auto note = nlohmann::json::parse(base::as_text(*bytes), nullptr, false);
    if (note.is_object()) noted_url = note.value("url", ""), noted_id = note.value("id", "");
  }
  Mirrors mirrors;
  std::shared_ptr<store::Store> store = open_place(url, mirrors);
  const auto cache = add_cache(store, url);
  std::shared_ptr<repo::Repository> repository;
  const bool embedded = url == embedded_path();
  if (embedded && noted_url.empty() && !store->find_size({store::Kind::config, {}})) {
    const bool made = make_password_if_missing(settings_, data_directory_);
    source = describe_sources();
    store->prepare();
    repository = repo::Repository::init(store, password());
    spdlog::info("made the repository {} with ID {}", url, repository->id().short_hex());
    if (made)
      spdlog::warn("its password was made by davit and is only on this machine: save a copy elsewhere now, with "
                   "`davit key export`");
  } else {
    try {
      repository = repo::Repository::open(store, password());
    } catch (const base::NoRepository&) {
      if (noted_url == shown)
        throw base::NoRepository("the repository " + store->describe() + " was there before and is gone: is its file "
                                 "system mounted? (To begin a new one: davit init)");
      throw base::NoRepository("there is no repository at " + store->describe() + ": check RESTIC_REPOSITORY, or make "
                               "one with `davit init`");
    }
    if (mirrors.stores && mirrors.stores->stood_in() > 0 && (noted_url != shown || noted_id != repository->id().hex()))
      throw base::IoError("the repository " + store->describe() + " is away, and that its mirrors hold the same one is "
                          "not known: it has never been open here", 0, true);
    if (noted_url == shown && noted_id != repository->id().hex())
      spdlog::warn("the repository at {} is another one than before ({}, was {})", store->describe(),
                   repository->id().short_hex(), noted_id.substr(0, 8));
  }
  repository->set_compression(compression);
  repository->use_index_cache(cache_directory(data_directory_, *repository));
  if (cache) begin_cache(*cache, settings_, data_directory_, *repository);
  if (noted_url != shown || noted_id != repository->id().hex()) note_repository(url, repository->id());
  open_url_ = url;
  open_sources_ = std::move(source);
  note_open(repository, std::move(mirrors));
  return repository;
}

base::Id RepositoryAccess::init() {
  std::lock_guard one(opening_);
  const std::string url = this->url();
  Mirrors mirrors;
  std::shared_ptr<store::Store> store = open_place(url, mirrors);
  const auto cache = add_cache(store, url);
  make_password_if_missing(settings_, data_directory_);
  std::string source = describe_sources();
  store->prepare();
  std::shared_ptr<repo::Repository> repository = repo::Repository::init(store, password());
  repository->set_compression(repo::parse_compression(settings_.get("RESTIC_COMPRESSION")));
  repository->use_index_cache(cache_directory(data_directory_, *repository));
  if (cache) begin_cache(*cache, settings_, data_directory_, *repository);
  note_repository(url, repository->id());
  open_url_ = url;
  open_sources_ = std::move(source);
  note_open(repository, std::move(mirrors));
  return repository->id();
}

void RepositoryAccess::tidy() {
  try {
    store::Store& store = get()->store();
    if (store.is_read_only())
      spdlog::warn("the repository {} is read-only: volumes can be restored from it, and none can be saved",
                   store.describe());
    else
      store.prepare();
  } catch (const base::IoError& error) {
    spdlog::warn("the repository cannot be tidied up: {}", error.what());
  }
}

}  // namespace davit::jobs
