#include "support/memory_store.h"

#include <algorithm>

#include "base/errors.h"

namespace davit::test {

MemoryStore::MemoryStore() : files_(std::make_shared<base::Synchronized<Files>>()) {}

std::unique_ptr<MemoryStore> MemoryStore::another() const {
  return std::unique_ptr<MemoryStore>(new MemoryStore(files_));
}

std::shared_ptr<MemoryStore> MemoryStore::copy() const {
  auto files = std::make_shared<base::Synchronized<Files>>();
  *files->lock() = files_->with([](const Files& each) { return each; });
  return std::shared_ptr<MemoryStore>(new MemoryStore(std::move(files)));
}

void MemoryStore::put(const store::Name& name, std::span<const base::ByteView> pieces) {
  base::Bytes bytes;
  for (const auto& piece : pieces) base::append(bytes, piece);
  auto file = std::make_shared<const base::Bytes>(std::move(bytes));
  (*files_->lock())[{name.kind, name.id}] = std::move(file);
}

std::shared_ptr<const base::Bytes> MemoryStore::find(const store::Name& name) {
  return files_->with([&](const Files& files) -> std::shared_ptr<const base::Bytes> {
    const auto found = files.find({name.kind, name.id});
    return found == files.end() ? nullptr : found->second;
  });
}

base::Bytes MemoryStore::get(const store::Name& name, uint64_t max_bytes) {
  const auto file = find(name);
  if (!file) throw base::NotFound("the repository has no " + to_string(name));
  if (file->size() > max_bytes) throw base::Corrupt(to_string(name) + " is too large");
  return *file;
}

void MemoryStore::get_range(const store::Name& name, uint64_t offset, std::span<uint8_t> out) {
  const auto file = find(name);
  if (!file) throw base::NotFound("the repository has no " + to_string(name));
  if (offset > file->size() || out.size() > file->size() - offset)
    throw base::Corrupt(to_string(name) + " is too short");
  std::copy_n(file->begin() + static_cast<ptrdiff_t>(offset), out.size(), out.begin());
}

std::optional<uint64_t> MemoryStore::find_size(const store::Name& name) {
  const auto file = find(name);
  if (!file) return std::nullopt;
  return file->size();
}

void MemoryStore::list(store::Kind kind, const std::function<void(const store::FileInfo&)>& each) {
  std::vector<store::FileInfo> found;
  files_->with([&](const Files& files) {
    for (const auto& [key, bytes] : files)
      if (key.first == kind) found.push_back({key.second, bytes->size()});
  });
  for (const auto& file : found) each(file);
}

void MemoryStore::remove(const store::Name& name) {
  files_->lock()->erase({name.kind, name.id});
}

void MemoryStore::damage(const store::Name& name, const std::function<void(base::Bytes&)>& change) {
  base::Bytes bytes = get(name, UINT64_MAX);
  change(bytes);
  put(name, bytes);
}

}  // namespace davit::test
