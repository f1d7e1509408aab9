#include "upkeep/overlay_store.h"

#include <vector>

#include "base/errors.h"
#include "base/files.h"
#include "base/mapped_file.h"

namespace davit::upkeep {

namespace {

base::Fd make_file(const std::string& directory) {
  if (directory.empty()) return base::make_memory_file();
  base::make_directories(directory);
  return base::make_unnamed_file(directory);
}

}  // namespace

OverlayStore::OverlayStore(store::Store& beneath, const std::string& directory)
    : beneath_(beneath), file_(make_file(directory)) {}

void OverlayStore::put(const store::Name& name, std::span<const base::ByteView> pieces) {
  Piece place;
  for (const auto& piece : pieces) place.size_bytes += piece.size();
  changes_.with([&](Changes& changes) {
    place.offset = changes.end;
    changes.end += place.size_bytes;
  });
  uint64_t at = place.offset;
  for (const auto& piece : pieces) {
    base::pwrite_all(file_.get(), piece, at);
    at += piece.size();
  }
  changes_.with([&](Changes& changes) {
    changes.added[{name.kind, name.id}] = place;
    changes.removed.erase({name.kind, name.id});
  });
}

std::optional<OverlayStore::Piece> OverlayStore::find_own(const store::Name& name) const {
  const Key key{name.kind, name.id};
  return changes_.with([&](const Changes& changes) -> std::optional<Piece> {
    if (changes.removed.contains(key))
      throw base::NotFound(store::to_string(name) + " is not there");
    const auto found = changes.added.find(key);
    if (found == changes.added.end()) return std::nullopt;
    return found->second;
  });
}

base::Bytes OverlayStore::get(const store::Name& name, uint64_t max_bytes) {
  const auto own = find_own(name);
  if (!own) return beneath_.get(name, max_bytes);
  if (own->size_bytes > max_bytes) throw base::Corrupt(store::to_string(name) + " is too large");
  base::Bytes bytes(own->size_bytes);
  get_range(name, 0, bytes);
  return bytes;
}

void OverlayStore::get_range(const store::Name& name, uint64_t offset, std::span<uint8_t> out) {
  const auto own = find_own(name);
  if (!own) return beneath_.get_range(name, offset, out);
  if (offset > own->size_bytes || out.size() > own->size_bytes - offset ||
      base::pread_up_to(file_.get(), out, own->offset + offset) != out.size())
    throw base::Corrupt(store::to_string(name) + " ends before that");
}

std::optional<uint64_t> OverlayStore::find_size(const store::Name& name) {
  try {
    const auto own = find_own(name);
    return own ? own->size_bytes : beneath_.find_size(name);
  } catch (const base::NotFound&) {
    return std::nullopt;
  }
}

void OverlayStore::list(store::Kind kind, const std::function<void(const store::FileInfo&)>& each) {
  std::set<base::Id> hidden;
  std::vector<store::FileInfo> added;
  changes_.with([&](const Changes& changes) {
    for (const auto& key : changes.removed)
      if (key.first == kind) hidden.insert(key.second);
    for (const auto& [key, piece] : changes.added)
      if (key.first == kind) {
        hidden.insert(key.second);
        added.push_back({key.second, piece.size_bytes});
      }
  });
  beneath_.list(kind, [&](const store::FileInfo& file) {
    if (!hidden.contains(file.id)) each(file);
  });
  for (const auto& file : added) each(file);
}

void OverlayStore::remove(const store::Name& name) {
  changes_.with([&](Changes& changes) {
    changes.added.erase({name.kind, name.id});
    changes.removed.insert({name.kind, name.id});
  });
}

bool OverlayStore::heal(const store::Name& name,
                        const std::function<bool(base::ByteView)>& is_whole) {
  const Key key{name.kind, name.id};
  const bool is_own = changes_.with([&](const Changes& changes) {
    return changes.removed.contains(key) || changes.added.contains(key);
  });
  return !is_own && beneath_.heal(name, is_whole);
}

}  // namespace davit::upkeep
