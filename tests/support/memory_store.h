// A store in memory that keeps the whole contract but durability. Copies made by another() see the
// same files.
#pragma once

#include <map>
#include <memory>
#include <utility>

#include "base/synchronized.h"
#include "store/store.h"

namespace davit::test {

class MemoryStore : public store::Store {
 public:
  using Store::put;

  MemoryStore();
  std::unique_ptr<MemoryStore> another() const;
  // With the same files now; what changes later changes in one of them only.
  std::shared_ptr<MemoryStore> copy() const;

  void prepare() override {}
  void put(const store::Name& name, std::span<const base::ByteView> pieces) override;
  base::Bytes get(const store::Name& name, uint64_t max_bytes) override;
  void get_range(const store::Name& name, uint64_t offset, std::span<uint8_t> out) override;
  std::optional<uint64_t> find_size(const store::Name& name) override;
  void list(store::Kind kind, const std::function<void(const store::FileInfo&)>& each) override;
  void remove(const store::Name& name) override;
  unsigned connections() const override { return 4; }
  std::string describe() const override { return "memory"; }

  // Changes a file's bytes behind the repository's back.
  void damage(const store::Name& name, const std::function<void(base::Bytes&)>& change);

 private:
  using Files = std::map<std::pair<store::Kind, base::Id>, std::shared_ptr<const base::Bytes>>;
  explicit MemoryStore(std::shared_ptr<base::Synchronized<Files>> files)
      : files_(std::move(files)) {}
  std::shared_ptr<const base::Bytes> find(const store::Name& name);

  std::shared_ptr<base::Synchronized<Files>> files_;
};

}  // namespace davit::test
