#include "store/spool_draft.h"

#include "base/errors.h"
#include "base/mapped_file.h"

namespace davit::store {

SpoolDraft::SpoolDraft(Store& store, const std::string& directory)
    : store_(store), directory_(directory), file_(base::make_unnamed_file(directory)) {}

void SpoolDraft::append(base::ByteView bytes) {
  try {
    base::write_all(file_.get(), bytes);
  } catch (const base::IoError& error) {
    throw base::IoError("cannot keep a pack for " + store_.describe() + " in " + directory_ +
                            " until it is sent: " + error.what(),
                        error.number(), error.transient());
  }
  size_bytes_ += bytes.size();
}

void SpoolDraft::read(uint64_t offset, std::span<uint8_t> out) {
  DAVIT_CHECK(offset <= size_bytes_ && out.size() <= size_bytes_ - offset);
  DAVIT_CHECK(base::pread_up_to(file_.get(), out, offset) == out.size());
}

void SpoolDraft::commit(const Name& name) {
  const base::MappedFile mapped(file_.get(), size_bytes_);
  store_.put(name, mapped.bytes());
}

std::unique_ptr<Draft> begin_spooled(Store& store, const std::string& directory, Kind kind,
                                     size_t expected_bytes) {
  if (directory.empty()) return store.Store::begin_draft(kind, expected_bytes);
  return std::make_unique<SpoolDraft>(store, directory);
}

}  // namespace davit::store
