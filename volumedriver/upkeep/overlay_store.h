// A store that shows what another one holds, and keeps to itself what is put and removed: what work
// would do to a repository can be seen by doing it. Any thread.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "base/fd.h"
#include "base/synchronized.h"
#include "store/store.h"

namespace davit::upkeep {

class OverlayStore : public store::Store {
 public:
  using Store::put;

  // `beneath` must outlive it and is only read, and healed. What is put lies in a file without a name in
  // `directory`; "": in memory. Throws IoError.
  OverlayStore(store::Store& beneath, const std::string& directory);

  void prepare() override {}
  void put(const store::Name& name, std::span<const base::ByteView> pieces) override;
  base::Bytes get(const store::Name& name, uint64_t max_bytes) override;
  void get_range(const store::Name& name, uint64_t offset, std::span<uint8_t> out) override;
  std::optional<uint64_t> find_size(const store::Name& name) override;
  void list(store::Kind kind, const std::function<void(const store::FileInfo&)>& each) override;
  void remove(const store::Name& name) override;
  // Puts right what lies beneath: that a copy elsewhere is whole is no loss.
  bool heal(const store::Name& name, const std::function<bool(base::ByteView)>& is_whole) override;
  void forget_copies(store::Kind kind) override { beneath_.forget_copies(kind); }
  unsigned connections() const override { return beneath_.connections(); }
  std::string describe() const override { return beneath_.describe(); }

 private:
  using Key = std::pair<store::Kind, base::Id>;
  struct Piece {
    uint64_t offset = 0, size_bytes = 0;
  };
  struct Changes {
    std::map<Key, Piece> added;
    std::set<Key> removed;
    uint64_t end = 0;  // of the file
  };
  // Where it lies; nothing where `beneath` has to be asked. Throws NotFound for what was removed.
  std::optional<Piece> find_own(const store::Name& name) const;

  store::Store& beneath_;
  const base::Fd file_;
  base::Synchronized<Changes> changes_;
};

}  // namespace davit::upkeep
