#include "store/cache_store.h"

#include <algorithm>
#include <chrono>

#include "base/errors.h"
#include "base/log.h"
#include "base/patience.h"
#include "crypto/sha256.h"

namespace davit::store {

namespace {

using namespace std::chrono_literals;
using base::ByteView;

// Who has less time does not wait for a whole pack.
constexpr auto kTimeForAPack = 1min;
constexpr unsigned kReadWholeAtMost = 2;
constexpr size_t kSlice = 1 << 20;
// No index file that anybody writes is larger.
constexpr uint64_t kLargestFile = 512 << 20;

}  // namespace

// What is written goes into the store and then stays here, too.
class CacheStore::CopiedDraft : public Draft {
 public:
  CopiedDraft(CacheStore& store, std::unique_ptr<Draft> inner)
      : store_(store), inner_(std::move(inner)) {}

  void append(ByteView bytes) override {
    inner_->append(bytes);
    size_bytes_ += bytes.size();
  }
  void read(uint64_t offset, std::span<uint8_t> out) override { inner_->read(offset, out); }
  void commit(const Name& name) override {
    if (!store_.keeps(name) || !name.is_hash || size_bytes_ > store_.largest_pack_ ||
        !store_.files_->has_room_for(size_bytes_))
      return inner_->commit(name);
    CacheFiles::Copy copy(*store_.files_);
    base::Bytes slice;
    for (uint64_t at = 0; at < size_bytes_; at += slice.size()) {
      slice.resize(std::min<uint64_t>(kSlice, size_bytes_ - at));
      inner_->read(at, slice);
      copy.append(slice);
    }
    inner_->commit(name);
    copy.keep(name);
  }

 private:
  CacheStore& store_;
  const std::unique_ptr<Draft> inner_;
  uint64_t size_bytes_ = 0;
};

// A turn to read a whole pack: nobody else reads the same one, and not many read others. Throws
// Cancelled where the caller's stop is requested before it comes.
class CacheStore::Fetch {
 public:
  Fetch(CacheStore& store, const base::Id& id) : store_(store), id_(id) {
    std::unique_lock lock(store_.mutex_);
    const bool is_our_turn = store_.fetched_.wait(lock, base::patience().stop, [&] {
      return store_.under_way_.size() < kFetches && !store_.under_way_.contains(id_);
    });
    if (!is_our_turn) throw base::Cancelled();
    store_.under_way_.insert(id_);
  }
  ~Fetch() {
    {
      std::lock_guard lock(store_.mutex_);
      store_.under_way_.erase(id_);
    }
    store_.fetched_.notify_all();
  }
  Fetch(const Fetch&) = delete;
  Fetch& operator=(const Fetch&) = delete;

 private:
  CacheStore& store_;
  const base::Id id_;
};

void CacheStore::begin(const std::string& directory, std::function<uint64_t()> max_bytes) {
  DAVIT_CHECK(!files_);
  files_ = std::make_unique<CacheFiles>(directory, std::move(max_bytes));
}

bool CacheStore::keeps(const Name& name) const {
  if (!files_) return false;
  return name.kind == Kind::index || name.kind == Kind::snapshot ||
         (name.kind == Kind::data && name.trees);
}

void CacheStore::keep(const Name& name, std::span<const ByteView> pieces) {
  crypto::Sha256 hash;
  for (const ByteView piece : pieces) hash.update(piece);
  if (hash.finish() == name.id) files_->add(name, pieces);
}

void CacheStore::put(const Name& name, std::span<const ByteView> pieces) {
  inner_->put(name, pieces);
  if (keeps(name)) keep(name, pieces);
}

std::unique_ptr<Draft> CacheStore::begin_draft(Kind kind, size_t expected_bytes) {
  auto inner = inner_->begin_draft(kind, expected_bytes);
  if (!files_) return inner;
  return std::make_unique<CopiedDraft>(*this, std::move(inner));
}

base::Bytes CacheStore::get(const Name& name, uint64_t max_bytes) {
  if (!keeps(name) || name.kind == Kind::data) return inner_->get(name, max_bytes);
  if (files_->is_listed(name)) {
    if (auto bytes = files_->find(name, max_bytes)) {
      ++hits_;
      return std::move(*bytes);
    }
  }
  base::Bytes bytes = inner_->get(name, max_bytes);
  const ByteView piece = bytes;
  keep(name, std::span(&piece, 1));
  ++fetches_;
  return bytes;
}

void CacheStore::get_range(const Name& name, uint64_t offset, std::span<uint8_t> out) {
  if (!keeps(name) || out.empty()) return inner_->get_range(name, offset, out);
  if (files_->read(name, offset, out)) {
    ++hits_;
    return;
  }
  if (!is_wanted_whole(name)) return inner_->get_range(name, offset, out);
  const Fetch turn(*this, name.id);
  if (files_->read(name, offset, out)) {  // another thread has brought it
    ++hits_;
    return;
  }
  const auto pack = fetch_pack(name);
  if (!pack) return inner_->get_range(name, offset, out);
  if (offset > pack->size() || out.size() > pack->size() - offset)
    too_short(name, offset, out.size());
  std::copy_n(pack->begin() + static_cast<ptrdiff_t>(offset), out.size(), out.begin());
}

bool CacheStore::is_wanted_whole(const Name& name) {
  if (base::patience().limit < kTimeForAPack || !files_->has_room_for(largest_pack_)) return false;
  std::lock_guard lock(mutex_);
  const auto found = read_whole_.find(name.id);
  return found == read_whole_.end() || found->second < kReadWholeAtMost;
}

std::optional<base::Bytes> CacheStore::fetch_pack(const Name& name) {
  std::optional<base::Bytes> bytes;
  try {
    bytes = inner_->get(name, largest_pack_);
    const ByteView piece = *bytes;
    keep(name, std::span(&piece, 1));
    ++fetches_;
  } catch (const base::Corrupt&) {  // it is larger
  }
  std::lock_guard lock(mutex_);
  read_whole_[name.id] += bytes ? 1 : kReadWholeAtMost;
  return bytes;
}

void CacheStore::list(Kind kind, const std::function<void(const FileInfo&)>& each) {
  if (!files_) return inner_->list(kind, each);
  CacheFiles::Census census(*files_, kind);
  inner_->list(kind, [&](const FileInfo& file) {
    census.see(file.id);
    each(file);
  });
  census.finish();
  if (kind != Kind::data) return;
  std::lock_guard lock(mutex_);
  read_whole_.clear();
}

void CacheStore::remove(const Name& name) {
  inner_->remove(name);
  if (files_) files_->drop(name);
}

bool CacheStore::heal(const Name& name, const std::function<bool(ByteView)>& is_whole) {
  std::optional<base::Bytes> copy;
  if (files_) copy = files_->find(name, kLargestFile);
  if (copy && !is_whole(*copy)) {
    files_->drop(name);
    ++dropped_;
    spdlog::warn("the copy of {} in the cache had gone bad and is dropped", store::to_string(name));
    copy.reset();
    if (is_whole_beneath(name, is_whole)) return true;
  }
  try {
    if (inner_->heal(name, is_whole)) return true;
  } catch (const base::IoError&) {
    if (!copy) throw;  // else this one is whole
  }
  if (!copy) return false;
  if (is_whole_beneath(name, is_whole)) return true;
  try {
    inner_->put(name, *copy);
  } catch (const base::Conflict&) {  // the server never replaces a file; what it has is no good
    inner_->remove(name);
    inner_->put(name, *copy);
  }
  spdlog::warn("{} was damaged or missing in {} and is put back from the cache",
               store::to_string(name), inner_->describe());
  return true;
}

bool CacheStore::is_whole_beneath(const Name& name, const std::function<bool(ByteView)>& is_whole) {
  try {
    return is_whole(inner_->get(name, kLargestFile));
  } catch (const base::NotFound&) {
  } catch (const base::Corrupt&) {
  }
  return false;
}

void CacheStore::forget_copies(Kind kind) {
  if (files_) files_->doubt(kind);
  inner_->forget_copies(kind);
}

}  // namespace davit::store
