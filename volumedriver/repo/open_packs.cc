#include "repo/open_packs.h"

#include <algorithm>
#include <utility>

#include "crypto/seal.h"

namespace davit::repo {

OpenPacks::Packs OpenPacks::add(std::span<const SealedBlobs> lanes) {
  Packs full;
  std::array<SealedBlobs, GrowingPack::kAtOnce> shared;
  size_t count = 0;
  for (const SealedBlobs& lane : lanes) {
    if (lane.bytes.size() < pack_size_bytes_) {
      shared[count++] = lane;
      continue;
    }
    full.push_back(std::make_unique<GrowingPack>());
    full.back()->add(store_, lane.bytes.size() + header_size(lane.blobs), lane);
  }
  if (count == 0) return full;
  Locks locks;
  std::array<Place*, GrowingPack::kAtOnce> chosen;
  const size_t got = choose(count, chosen, locks);
  for (size_t done = 0; done < count; done += got) {
    const size_t now = std::min(got, count - done);
    add_to(std::span(chosen).first(now), std::span(shared).subspan(done, now), full);
  }
  return full;
}

void OpenPacks::add_to(std::span<Place* const> places, std::span<const SealedBlobs> lanes,
                       Packs& full) {
  std::array<GrowingPack*, GrowingPack::kAtOnce> packs;
  for (size_t i = 0; i < places.size(); ++i) {
    if (!places[i]->pack) places[i]->pack = std::make_unique<GrowingPack>();
    packs[i] = places[i]->pack.get();
  }
  GrowingPack::add_each(store_, expected_bytes(), std::span(packs).first(places.size()), lanes);
  for (Place* const place : places) {
    if (place->pack->size_bytes < pack_size_bytes_ && place->pack->blobs.size() < kMaxBlobsPerPack)
      continue;
    full.push_back(std::move(place->pack));
    filled_.fetch_add(1, std::memory_order_relaxed);
  }
}

size_t OpenPacks::choose(size_t wanted, std::span<Place*> chosen, Locks& locks) {
  const size_t open = std::min(kMostOpen, 2 + filled_.load(std::memory_order_relaxed));
  uint8_t random;
  crypto::random_bytes(std::span(&random, 1));
  const size_t first = random % open;
  size_t got = 0;
  for (size_t i = 0; i < open && got < wanted; ++i) {
    Place& place = places_[(first + i) % open];
    std::unique_lock lock(place.mutex, std::try_to_lock);
    if (!lock) continue;
    chosen[got] = &place;
    locks[got++] = std::move(lock);
  }
  if (got == 0) {
    chosen[got] = &places_[first];
    locks[got++] = std::unique_lock(places_[first].mutex);
  }
  return got;
}

OpenPacks::Packs OpenPacks::take_rests() {
  Packs open;
  for (Place& place : places_)
    if (place.pack) open.push_back(std::move(place.pack));
  std::sort(open.begin(), open.end(),
            [](const auto& a, const auto& b) { return a->size_bytes > b->size_bytes; });
  Packs rests;
  for (auto& pack : open) {
    const auto with_room = std::find_if(rests.begin(), rests.end(), [&](const auto& rest) {
      return rest->size_bytes + pack->size_bytes < pack_size_bytes_ &&
             rest->blobs.size() + pack->blobs.size() <= kMaxBlobsPerPack;
    });
    if (with_room == rests.end())
      rests.push_back(std::move(pack));
    else
      join(**with_room, *pack);
  }
  return rests;
}

void OpenPacks::join(GrowingPack& to, const GrowingPack& from) {
  base::Bytes sealed;
  for (const PackBlob& blob : from.blobs) {
    from.read(blob, sealed);
    to.add(store_, expected_bytes(), {.bytes = sealed, .blobs = std::span(&blob, 1)});
  }
}

}  // namespace davit::repo
