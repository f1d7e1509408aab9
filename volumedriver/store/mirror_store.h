// A repository that lies in several stores at once: the primary, and mirrors that hold the same
// files byte for byte. Somebody else keeps the mirrors up to date (jobs/mirror_sync.h).
//
// What is written, removed, locked and listed is the primary's. What is read:
//  - a range of a pack, where any copy will do (Name::any_copy), from the nearest: a store on this
//    machine before one on the network, else the primary, then the mirrors in their order. Where
//    one lacks it, has too little of it or fails, the next is asked. So a removed pack may still be
//    read.
//  - everything else from the primary. Where that is away (a transient IoError, after tries of
//    MirrorOptions::quick), config, keys, indexes, snapshots and their lists come from the first
//    mirror that answers. But what a mirror does not have proves nothing: instead of "not found"
//    and of an empty list the primary's error is thrown. Nor is anything but packs read from
//    mirrors while somebody writes (strictly()): what goes must not be decided by a list that is
//    behind.
// A mirror counts only while its config is the primary's, byte for byte; what is missing or away is
// asked again after MirrorOptions::pause.
//
// heal() looks at every copy and replaces those that are damaged, and the primary's where it is
// missing, by a whole one. Where it finds none, and a copy could not be asked, it throws a transient
// IoError.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/synchronized.h"
#include "store/store.h"

namespace davit::store {

struct MirrorOptions {
  // Called before a file other than a lock is removed from the primary; what it throws keeps it
  // there. Any thread.
  std::function<void(const Name&)> before_remove;
  // A snapshot or a key came or went. Any thread.
  std::function<void()> on_change;
  // "repaired snapshot/… of /srv/a from s3:host/b". Any thread.
  std::function<void(const std::string& repair)> on_repair;
  // The primary is away, and why; "": it answers again. Any thread.
  std::function<void(const std::string& why)> on_away;
  std::chrono::milliseconds quick{3'000};   // for one copy, where another one can be asked
  std::chrono::milliseconds pause{30'000};  // until one that failed is asked again
};

class MirrorStore : public Store {
 public:
  using Store::put;

  struct Copy {
    std::shared_ptr<Store> store;
    bool is_near = false;         // on this machine
    bool is_append_only = false;  // nothing is ever removed there
  };
  MirrorStore(Copy primary, std::vector<Copy> mirrors, MirrorOptions options);

  void prepare() override;
  void put(const Name& name, std::span<const base::ByteView> pieces) override;
  std::unique_ptr<Draft> begin_draft(Kind kind, size_t expected_bytes) override;
  base::Bytes get(const Name& name, uint64_t max_bytes) override;
  void get_range(const Name& name, uint64_t offset, std::span<uint8_t> out) override;
  std::optional<uint64_t> find_size(const Name& name) override;
  void list(Kind kind, const std::function<void(const FileInfo&)>& each) override;
  void remove(const Name& name) override;
  bool heal(const Name& name, const std::function<bool(base::ByteView)>& is_whole) override;
  bool is_read_only() override;
  unsigned connections() const override { return primary().connections(); }
  std::string describe() const override { return primary().describe(); }

  Store& primary() const { return *copies_[0].store; }
  size_t mirrors() const { return copies_.size() - 1; }
  const Copy& mirror(size_t number) const { return copies_[number + 1]; }

  enum class Match : uint8_t { same, other, none };  // none: it has no config
  // Compares the configs now. Throws what the stores throw.
  Match compare(size_t mirror);

  // While the primary is away: from here to end_stand_in() one mirror stands in for it, for locks,
  // too, so that a reading job has one where the files are that it reads. Writing and removing
  // anything else fails with what the primary failed with. False where no mirror answers. Nobody
  // may hold a lock when it begins or ends.
  bool begin_stand_in();
  void end_stand_in();
  bool stands_in() const { return stand_in_ != 0; }

  // While the result lives nothing but packs is read from mirrors. This must outlive it.
  std::shared_ptr<void> strictly();

  // Grows with each answer that a mirror gave in the primary's place: what is not found between two
  // equal values is proven to be absent.
  uint64_t stood_in() const { return stood_in_; }

 private:
  struct State {
    bool is_same = false, is_other = false;
    std::chrono::steady_clock::time_point not_before{};
    std::chrono::steady_clock::time_point packs_not_before{};  // one of them cannot be repaired
  };
  class Quickly;

  Store& store(size_t copy) const { return *copies_[copy].store; }
  bool is_pausing(size_t copy, bool for_packs = false) const;
  void pause(size_t copy);
  // A mirror that may be asked now: the primary's, as far as is known.
  bool is_usable(size_t copy);
  void note_away(const std::string& why);
  void refuse_writing() const;
  [[noreturn]] void refuse_as_proof() const;
  // As far as it is known; where the primary never said it, and is away, `theirs` is believed until
  // it is back.
  base::Bytes primary_config(const base::Bytes& theirs);
  void know_config(const base::Bytes& config);
  template <typename Read, typename Proves>
  auto read_small(Read read, Proves proves);
  template <typename Read>
  void read_nearest(Read read);
  bool put_whole(size_t copy, const Name& name, base::ByteView whole,
                 const std::function<bool(base::ByteView)>& is_whole);

  const std::vector<Copy> copies_;     // 0 is the primary
  const std::vector<size_t> nearest_;  // first
  const MirrorOptions options_;
  base::Synchronized<std::vector<State>> states_;
  base::Synchronized<std::optional<base::Bytes>> config_;  // the primary's, once it is known
  std::atomic<bool> config_is_theirs_{false};
  base::Synchronized<std::string> away_;  // why; "": not
  std::atomic<unsigned> strict_{0};
  std::atomic<size_t> stand_in_{0};  // a copy; 0: none
  std::atomic<uint64_t> stood_in_{0};
  std::mutex healing_;  // one at a time, so that who comes second finds it whole
};

}  // namespace davit::store
