// A repository in a local directory, in restic's default layout:
//   config  keys/<id>  data/<first two digits>/<id>  index/<id>  snapshots/<id>  locks/<id>
//
// A file is written under "<id>-tmp-…" in its final directory, made read-only, synced, renamed, and
// the directory synced: after any crash it is absent or complete. Files are 0400 and directories
// 0700; where `config` is readable for the group, the group gets the same rights. A missing data/xx
// is made on writing. The directory itself is made by prepare() only: where it has vanished (a disk
// that is not mounted), everything fails rather than finding nothing.
#pragma once

#include <atomic>

#include "base/fd.h"
#include "store/store.h"

namespace davit::store {

class LocalStore : public Store {
 public:
  using Store::put;

  // `path` is absolute or relative to the working directory; nothing is touched yet.
  explicit LocalStore(std::string path);

  // Also removes temporary files that a dead process of ours left, once they are a day old.
  void prepare() override;
  void put(const Name& name, std::span<const base::ByteView> pieces) override;
  // Written under such a name, too, in one of the directories of its kind.
  std::unique_ptr<Draft> begin_draft(Kind kind, size_t expected_bytes) override;
  base::Bytes get(const Name& name, uint64_t max_bytes) override;
  void get_range(const Name& name, uint64_t offset, std::span<uint8_t> out) override;
  std::optional<uint64_t> find_size(const Name& name) override;
  void list(Kind kind, const std::function<void(const FileInfo&)>& each) override;
  void remove(const Name& name) override;
  bool is_read_only() override;

  unsigned connections() const override { return 2; }
  std::string describe() const override { return path_; }

 private:
  class Writing;

  std::string directory_of(const Name& name) const;
  std::string path_of(const Name& name) const;
  mode_t group_bits();
  void make_directory(const std::string& path);
  void make_missing(const Name& name);
  base::Fd create(const std::string& temporary, const Name& name);
  void list_flat(const std::string& directory, const std::function<void(const FileInfo&)>& each);
  void remove_leftovers(const std::string& directory);

  const std::string path_;
  std::atomic<int> group_bits_{-1};  // -1: not known yet, there is no config
};

}  // namespace davit::store
