#include "store/mirror_store.h"

#include <algorithm>

#include "base/errors.h"
#include "base/log.h"
#include "base/patience.h"
#include "base/unreadable.h"

namespace davit::store {

namespace {

using base::Bytes;
using base::ByteView;
using Clock = std::chrono::steady_clock;

constexpr uint64_t kLargestConfig = 1 << 20;
// Packs are written with up to 512 MiB, and a blob.
constexpr uint64_t kLargestFile = uint64_t{1} << 30;
const Name kConfig{};

std::vector<size_t> nearest_first(const std::vector<MirrorStore::Copy>& copies) {
  std::vector<size_t> order(copies.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::stable_partition(order.begin(), order.end(), [&](size_t i) { return copies[i].is_near; });
  return order;
}

}  // namespace

// Others can be asked: no copy is waited for longer than this.
class MirrorStore::Quickly {
 public:
  explicit Quickly(const MirrorOptions& options)
      : scope_({std::min(base::patience().limit, options.quick), base::patience().stop}) {}

 private:
  base::PatienceScope scope_;
};

MirrorStore::MirrorStore(Copy primary, std::vector<Copy> mirrors, MirrorOptions options)
    : copies_([&] {
        std::vector<Copy> all{std::move(primary)};
        all.insert(all.end(), mirrors.begin(), mirrors.end());
        return all;
      }()),
      nearest_(nearest_first(copies_)),
      options_(std::move(options)),
      states_(copies_.size()) {}

// ---- which copy

bool MirrorStore::is_pausing(size_t copy, bool for_packs) const {
  return states_.with([&](const auto& states) {
    const auto now = Clock::now();
    return now < states[copy].not_before || (for_packs && now < states[copy].packs_not_before);
  });
}

void MirrorStore::pause(size_t copy) {
  states_.with([&](auto& states) { states[copy].not_before = Clock::now() + options_.pause; });
}

void MirrorStore::know_config(const Bytes& config) {
  *config_.lock() = config;
  config_is_theirs_ = false;
}

Bytes MirrorStore::primary_config(const Bytes& theirs) {
  if (auto known = *config_.lock()) return std::move(*known);
  try {
    const Bytes config = primary().get(kConfig, kLargestConfig);
    know_config(config);
    return config;
  } catch (const base::IoError& error) {
    if (!error.transient()) throw;
  }
  *config_.lock() = theirs;
  config_is_theirs_ = true;
  return theirs;
}

MirrorStore::Match MirrorStore::compare(size_t mirror) {
  const size_t copy = mirror + 1;
  Match match = Match::none;
  if (store(copy).find_size(kConfig)) {
    // As it is now: it may have been another one's when it was read before.
    const Bytes ours = primary().get(kConfig, kLargestConfig);
    know_config(ours);
    match = store(copy).get(kConfig, kLargestConfig) == ours ? Match::same : Match::other;
  }
  states_.with([&](auto& states) {
    states[copy] = {match == Match::same, match == Match::other};
    if (match != Match::same) states[copy].not_before = Clock::now() + options_.pause;
  });
  return match;
}

bool MirrorStore::is_usable(size_t copy) {
  if (copy == 0) return true;
  const auto known = states_.with([&](const auto& states) { return states[copy]; });
  if (Clock::now() < known.not_before) return false;
  if (known.is_same) return true;
  const Quickly quickly(options_);
  try {
    const Bytes theirs = store(copy).get(kConfig, kLargestConfig);
    const bool is_same = theirs == primary_config(theirs);
    states_.with([&](auto& states) {
      states[copy].is_same = is_same;
      states[copy].is_other = !is_same;
    });
    if (!is_same) pause(copy);
    return is_same;
  } catch (const base::Error& error) {
    spdlog::debug("the mirror {} is not used now: {}", store(copy).describe(), error.what());
    pause(copy);
    return false;
  }
}

void MirrorStore::note_away(const std::string& why) {
  const bool is_news = away_.with([&](std::string& away) {
    const bool changes = away.empty() != why.empty();
    away = why;
    return changes;
  });
  if (!is_news) return;
  if (why.empty()) {
    spdlog::info("the repository {} answers again", describe());
    if (config_is_theirs_.exchange(false)) {
      config_.lock()->reset();
      states_.with([](auto& states) {
        for (State& state : states) state.is_same = false;
      });
    }
  } else {
    spdlog::warn("the repository {} is away, and its mirrors are read instead: {}", describe(),
                 why);
  }
  if (options_.on_away) options_.on_away(why);
}

// ---- reading

// What must be the primary's, where that answers. `proves`: whether a mirror's answer may stand for
// the primary's.
template <typename Read, typename Proves>
auto MirrorStore::read_small(Read read, Proves proves) {
  if (const size_t copy = stand_in_) {
    ++stood_in_;
    auto result = read(store(copy));
    if (!proves(result)) refuse_as_proof();
    return result;
  }
  if (strict_ > 0) return read(primary());
  std::exception_ptr failure;
  std::string why = *away_.lock();
  if (!is_pausing(0)) {
    const Quickly quickly(options_);
    try {
      auto result = read(primary());
      note_away("");
      return result;
    } catch (const base::IoError& error) {
      if (!error.transient()) throw;
      failure = std::current_exception();
      why = error.what();
      pause(0);
    }
  }
  for (size_t copy = 1; copy < copies_.size(); ++copy) {
    if (!is_usable(copy)) continue;
    const Quickly quickly(options_);
    try {
      auto result = read(store(copy));
      if (!proves(result)) continue;
      ++stood_in_;
      note_away(why);
      return result;
    } catch (const base::NotFound&) {  // it may be behind
    } catch (const base::Corrupt&) {
    } catch (const base::IoError&) {
      pause(copy);
    }
  }
  // Nobody else: the primary, as long as the caller would wait for it.
  if (failure && base::patience().limit <= options_.quick) std::rethrow_exception(failure);
  auto result = read(primary());
  states_.with([](auto& states) { states[0].not_before = {}; });
  note_away("");
  return result;
}

// A range of a pack, from any copy that has it.
template <typename Read>
void MirrorStore::read_nearest(Read read) {
  if (const size_t copy = stand_in_) return read(store(copy));
  std::vector<size_t> order = nearest_;
  std::stable_partition(order.begin(), order.end(),
                        [&](size_t copy) { return !is_pausing(copy, true); });
  std::exception_ptr failure;  // the primary's
  bool is_transient = false;
  for (const size_t copy : order) {
    if (!is_usable(copy)) continue;
    const Quickly quickly(options_);
    try {
      return read(store(copy));
    } catch (const base::Error& error) {
      const auto* io = dynamic_cast<const base::IoError*>(&error);
      if (io && (copy != 0 || io->transient())) pause(copy);
      if (copy != 0) continue;
      failure = std::current_exception();
      is_transient = io && io->transient();
      if (is_transient) note_away(error.what());
    }
  }
  if (failure && (!is_transient || base::patience().limit <= options_.quick))
    std::rethrow_exception(failure);
  read(primary());
}

Bytes MirrorStore::get(const Name& name, uint64_t max_bytes) {
  const auto read = [&](Store& store) { return store.get(name, max_bytes); };
  if (name.kind == Kind::data && name.any_copy) {
    Bytes bytes;
    read_nearest([&](Store& store) { bytes = read(store); });
    return bytes;
  }
  if (name.kind == Kind::lock || name.kind == Kind::data) return read(store(stand_in_));
  const uint64_t before = stood_in_;
  Bytes bytes = read_small(read, [](const Bytes&) { return true; });
  if (name.kind == Kind::config && stood_in_ == before && stand_in_ == 0) know_config(bytes);
  return bytes;
}

void MirrorStore::get_range(const Name& name, uint64_t offset, std::span<uint8_t> out) {
  const auto read = [&](Store& store) { store.get_range(name, offset, out); };
  if (name.kind == Kind::data) {
    if (name.any_copy) return read_nearest(read);
    return read(store(stand_in_));
  }
  if (name.kind == Kind::lock) return read(store(stand_in_));
  read_small(
      [&](Store& store) {
        read(store);
        return true;
      },
      [](const bool&) { return true; });
}

std::optional<uint64_t> MirrorStore::find_size(const Name& name) {
  const auto find = [&](Store& store) { return store.find_size(name); };
  if (name.kind == Kind::lock || name.kind == Kind::data) return find(store(stand_in_));
  return read_small(find, [](const std::optional<uint64_t>& size) { return size.has_value(); });
}

void MirrorStore::list(Kind kind, const std::function<void(const FileInfo&)>& each) {
  if (kind == Kind::lock || kind == Kind::data) return store(stand_in_).list(kind, each);
  // All before the first is told: half a list of one store and half of another is none.
  const auto collect = [&](Store& store) {
    std::vector<FileInfo> files;
    store.list(kind, [&](const FileInfo& file) { files.push_back(file); });
    return files;
  };
  for (const FileInfo& file :
       read_small(collect, [](const std::vector<FileInfo>& files) { return !files.empty(); }))
    each(file);
}

bool MirrorStore::is_read_only() {
  return store(stand_in_).is_read_only();
}

// ---- writing

void MirrorStore::refuse_as_proof() const {
  throw base::IoError("the repository " + describe() + " is away, and what its mirror lacks proves nothing: " +
                          away_.with([](const std::string& why) { return why; }),
                      0, true);
}

void MirrorStore::refuse_writing() const {
  if (stand_in_ == 0) return;
  throw base::IoError("the repository " + describe() + " is away, and its mirrors are only read: " +
                          away_.with([](const std::string& why) { return why; }),
                      0, true);
}

void MirrorStore::prepare() {
  refuse_writing();
  primary().prepare();
}

void MirrorStore::put(const Name& name, std::span<const ByteView> pieces) {
  if (name.kind == Kind::lock) return store(stand_in_).put(name, pieces);
  refuse_writing();
  primary().put(name, pieces);
  if (options_.on_change && (name.kind == Kind::snapshot || name.kind == Kind::key))
    options_.on_change();
}

std::unique_ptr<Draft> MirrorStore::begin_draft(Kind kind, size_t expected_bytes) {
  refuse_writing();
  return primary().begin_draft(kind, expected_bytes);
}

void MirrorStore::remove(const Name& name) {
  if (name.kind == Kind::lock) return store(stand_in_).remove(name);
  refuse_writing();
  if (options_.before_remove) options_.before_remove(name);
  primary().remove(name);
  if (options_.on_change && (name.kind == Kind::snapshot || name.kind == Kind::key))
    options_.on_change();
}

// ---- standing in

bool MirrorStore::begin_stand_in() {
  for (size_t copy = 1; copy < copies_.size(); ++copy) {
    const Quickly quickly(options_);
    try {
      const Bytes theirs = store(copy).get(kConfig, kLargestConfig);
      if (theirs != primary_config(theirs)) continue;
    } catch (const base::Error&) {
      continue;
    }
    stand_in_ = copy;
    ++stood_in_;
    spdlog::warn("{} stands in for {}, which is away: it can be read", store(copy).describe(),
                 describe());
    return true;
  }
  return false;
}

std::shared_ptr<void> MirrorStore::strictly() {
  ++strict_;
  return {nullptr, [this](void*) { --strict_; }};
}

void MirrorStore::end_stand_in() {
  stand_in_ = 0;
}

// ---- healing

// False where it is not whole after that, either.
bool MirrorStore::put_whole(size_t copy, const Name& name, ByteView whole,
                            const std::function<bool(ByteView)>& is_whole) {
  try {
    store(copy).put(name, whole);
  } catch (const base::Conflict&) {
    // A server that lets nobody write over a config.
    store(copy).remove(name);
    store(copy).put(name, whole);
  }
  return is_whole(store(copy).get(name, kLargestFile));
}

bool MirrorStore::heal(const Name& name, const std::function<bool(ByteView)>& is_whole) {
  if (name.kind == Kind::lock || stand_in_ != 0) return false;
  const std::lock_guard one(healing_);
  enum class Is : uint8_t { unknown, whole, damaged, missing };
  std::vector<Is> copies(copies_.size(), Is::unknown);
  Bytes whole;
  size_t source = copies_.size();
  std::exception_ptr failure;
  std::string not_asked;  // and perhaps whole
  for (size_t copy = 0; copy < copies_.size(); ++copy) {
    // A config says itself whose it is; by it the others are known.
    if (copy != 0 && name.kind != Kind::config && !is_usable(copy)) {
      if (!states_.with([&](const auto& states) { return states[copy].is_other; }))
        not_asked = store(copy).describe();
      continue;
    }
    const Quickly quickly(options_);
    try {
      Bytes bytes = store(copy).get(name, kLargestFile);
      copies[copy] = is_whole(bytes) ? Is::whole : Is::damaged;
      if (copies[copy] != Is::whole || source != copies_.size()) continue;
      whole = std::move(bytes);
      source = copy;
    } catch (const base::NotFound&) {
      copies[copy] = Is::missing;
    } catch (const base::Corrupt&) {
      copies[copy] = Is::damaged;
    } catch (const base::IoError& error) {
      if (base::is_bad_medium(error)) {
        copies[copy] = Is::damaged;
        continue;
      }
      not_asked = store(copy).describe();
      if (copy == 0) failure = std::current_exception();
    } catch (const base::Error&) {
      if (copy == 0) failure = std::current_exception();
    }
  }
  if (source == copies_.size()) {
    if (not_asked.empty()) return false;
    throw base::IoError(not_asked + " does not tell now whether it has " + to_string(name) + " whole",
                        0, true);
  }
  if (name.kind == Kind::config) know_config(whole);
  // A directory that is not mounted lacks everything: it is not to be filled.
  if (copies[0] == Is::missing) {
    bool is_there = false;
    if (name.kind == Kind::config)
      primary().list(Kind::key, [&](const FileInfo&) { is_there = true; });
    else
      is_there = primary().find_size(kConfig).has_value();
    if (!is_there) return false;
  }
  bool is_primary_whole = copies[0] == Is::whole;
  for (size_t copy = 0; copy < copies_.size(); ++copy) {
    // What a mirror lacks it gets in the right order, when it is brought up to date. A config that
    // is not ours may be another repository's.
    const bool is_to_repair =
        copies[copy] == Is::damaged || (copy == 0 && copies[0] == Is::missing);
    if (!is_to_repair || (copy != 0 && name.kind == Kind::config)) continue;
    const std::string what = to_string(name) + " of " + store(copy).describe();
    try {
      if (!put_whole(copy, name, whole, is_whole))
        throw base::Corrupt("it did not read back as it was written");
      if (copy == 0) is_primary_whole = true;
    } catch (const base::Error& error) {
      spdlog::error("{} is damaged and cannot be repaired: {}", what, error.what());
      states_.with(
          [&](auto& states) { states[copy].packs_not_before = Clock::now() + options_.pause; });
      continue;
    }
    const std::string repair = "repaired " + what + " from " + store(source).describe();
    spdlog::warn("{}", repair);
    if (options_.on_repair) options_.on_repair(repair);
  }
  // Else any whole copy will do where it is what is read next.
  return is_primary_whole || failure != nullptr || name.any_copy;
}

}  // namespace davit::store
