// A draft for a store that takes whole files only: in a file without a name on this machine, so
// that packs under way cost disk and no memory.
#pragma once

#include <memory>
#include <string>

#include "base/fd.h"
#include "store/store.h"

namespace davit::store {

class SpoolDraft : public Draft {
 public:
  // In `directory`. The store must outlive it. Throws IoError, as all of it does.
  SpoolDraft(Store& store, const std::string& directory);

  void append(base::ByteView bytes) override;
  void read(uint64_t offset, std::span<uint8_t> out) override;
  void commit(const Name& name) override;

 private:
  Store& store_;
  const std::string directory_;
  const base::Fd file_;
  uint64_t size_bytes_ = 0;
};

// A draft of the store in `directory`, or in memory where that is "".
std::unique_ptr<Draft> begin_spooled(Store& store, const std::string& directory, Kind kind,
                                     size_t expected_bytes);

}  // namespace davit::store
