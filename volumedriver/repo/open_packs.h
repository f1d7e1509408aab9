// The packs of one type of blob that an upload session fills, and which of them gets what. Several
// are open at once, so that threads seldom meet, and a thread that brings several blobs has them
// hashed in several packs at the price of one and a half (crypto/sha256_lanes.h). A run that saves
// little fills few: the first two, and one more for each that was filled, up to kMostOpen.
// Any thread.
#pragma once

#include <array>
#include <atomic>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "repo/growing_pack.h"
#include "store/store.h"

namespace davit::repo {

class OpenPacks {
 public:
  static constexpr size_t kMostOpen = 6;
  // Keeps a header far below its limit of 16 MiB, whatever the pack's size.
  static constexpr size_t kMaxBlobsPerPack = 65'536;

  // A pack is full from `pack_size_bytes` on. The store must outlive it.
  OpenPacks(store::Store& store, size_t pack_size_bytes)
      : store_(store), pack_size_bytes_(pack_size_bytes) {}

  using Packs = std::vector<std::unique_ptr<GrowingPack>>;

  // Each of `lanes`, GrowingPack::kAtOnce at most, goes into one pack, any one; blobs of a pack's
  // size or more into one of their own. Returns those that are full now, each of which wants its
  // header. Throws what the store throws.
  Packs add(std::span<const SealedBlobs> lanes);
  // What is open at the end, small ones joined. No call of add() may be under way.
  Packs take_rests();
  // What a pack comes to, more or less.
  size_t expected_bytes() const { return pack_size_bytes_ + pack_size_bytes_ / 8; }

 private:
  struct Place {
    std::mutex mutex;
    std::unique_ptr<GrowingPack> pack;  // null: nothing in it yet
  };
  using Locks = std::array<std::unique_lock<std::mutex>, GrowingPack::kAtOnce>;

  // Locks as many as are free, `wanted` at most; one at least, for which it waits.
  size_t choose(size_t wanted, std::span<Place*> chosen, Locks& locks);
  void add_to(std::span<Place* const> places, std::span<const SealedBlobs> lanes, Packs& full);
  void join(GrowingPack& to, const GrowingPack& from);

  store::Store& store_;
  const size_t pack_size_bytes_;
  std::atomic<size_t> filled_{0};
  std::array<Place, kMostOpen> places_;
};

}  // namespace davit::repo
