#include "repo/upload.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <exception>
#include <functional>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "base/bounded_queue.h"
#include "base/crew.h"
#include "base/errors.h"
#include "base/patience.h"
#include "base/synchronized.h"
#include "crypto/seal.h"
#include "crypto/sha256.h"
#include "repo/arrived_packs.h"
#include "repo/chunker.h"
#include "repo/codec.h"
#include "repo/index_file.h"
#include "repo/open_packs.h"
#include "repo/pack_header.h"
#include "repo/pending.h"
#include "repo/scratch_buffers.h"

namespace davit::repo {

namespace {

using base::Bytes;
using base::ByteView;
using base::Id;

constexpr size_t kSmallestPack = 4 << 10;
constexpr size_t kLargestPack = 512 << 20;
// A pack's offsets and lengths have 32 bits.
constexpr size_t kMaxBlob = 0xf000'0000;

// Packs that arrived and are in no index file yet.
struct NewIndex {
  IndexEncoder encoder;
  std::vector<IndexEntry> entries;
  std::chrono::steady_clock::time_point since;  // the first of them
  std::unique_ptr<ArrivedPacks> noted;          // on disk; null where there is no place for it
};

}  // namespace

struct UploadSession::State {
  // A blob's bytes: plain, or the zstd frame of `plain_size` of them.
  struct Content {
    ByteView bytes;
    size_t plain_size = 0;
    bool is_frame = false;
    bool is_copy = false;  // stays as it is where it may
  };
  struct Blob {
    Id id;
    Content content;
  };

  State(Repository& repository, UploadOptions options);

  void fail(std::exception_ptr why);
  void throw_if_failed();

  // The calling thread's part.
  // Stores those that nobody has and returns how many. At most kMaxChunk bytes together, or one.
  size_t save(BlobType type, std::span<Blob> blobs, bool even_if_known);
  // True for the one caller who is to store it.
  bool claim(BlobType type, const Id& id, bool even_if_known);
  void store_blobs(BlobType type, std::span<const Blob> blobs);
  // Appends it, sealed.
  void seal(const Content& content, bool compressed, Bytes& sealed);
  bool is_to_compress(ByteView data) const;
  // Until so many bytes may go.
  void wait_turn(size_t bytes);
  void verify(BlobType type, const Id& id, bool compressed, ByteView sealed, size_t plain_size);
  void submit(std::unique_ptr<GrowingPack> pack);

  // The uploading threads' part.
  void before_first_pack();
  void upload(GrowingPack& pack);
  void write_index(NewIndex index);

  // Constant.
  Repository& repository;
  const UploadOptions options;

  // With synchronisation of their own.
  std::atomic<bool> failed{false};
  base::Synchronized<std::exception_ptr> failure;
  std::atomic<uint64_t> data_blobs{0}, tree_blobs{0}, added_bytes{0}, added_packed_bytes{0};
  std::atomic<bool> keeps_pending{false};  // somebody stores what the index knows
  PendingBlobs pending;
  ScratchBuffers scratch;
  std::array<OpenPacks, 2> open;  // by type
  base::Synchronized<NewIndex> new_index;
  base::BoundedQueue<std::unique_ptr<GrowingPack>> queue;
  std::once_flag first_pack;
  std::stop_source ended;  // nobody waits for the store any more

  bool finished = false;  // the owner's

  // Last, so that they end first.
  base::Crew crew;
  std::optional<std::stop_callback<std::function<void()>>> on_stop;
};

UploadSession::State::State(Repository& repository, UploadOptions options)
    : repository(repository),
      options(std::move(options)),
      scratch(base::processor_count() + 4),
      open{{{repository.store(), this->options.pack_size_bytes},
            {repository.store(), this->options.pack_size_bytes}}},
      queue(repository.store().connections()),
      crew([this] { queue.stop(); }) {
  adopt_arrived_packs(repository, [this] { before_first_pack(); });
  // Whatever ends the session ends their waiting for a store that is away.
  const base::PatienceScope patience({base::patience().limit, ended.get_token()});
  for (unsigned i = 0; i < repository.store().connections(); ++i)
    crew.start("upload", [this] {
      try {
        while (auto pack = queue.pop()) upload(**pack);
      } catch (...) {
        fail(std::current_exception());
      }
    });
  on_stop.emplace(this->options.stop, [this] { fail(std::make_exception_ptr(base::Cancelled())); });
}

void UploadSession::State::fail(std::exception_ptr why) {
  failure.with([&](auto& first) {
    if (!first) first = std::move(why);
  });
  failed = true;
  queue.stop();
  ended.request_stop();
}

void UploadSession::State::throw_if_failed() {
  if (!failed.load(std::memory_order_acquire)) return;
  std::rethrow_exception(failure.with([](const auto& first) { return first; }));
}

// ---- the calling thread

void UploadSession::State::seal(const Content& content, bool compressed, Bytes& sealed) {
  const size_t begin = sealed.size();
  sealed.resize(begin + crypto::kIvSize);
  if (compressed && !content.is_frame) {
    compress(content.bytes, sealed,
             repository.compression() == Compression::max ? kMaxLevel : kDefaultLevel);
  } else {
    base::append(sealed, content.bytes);
  }
  sealed.resize(sealed.size() + crypto::kTagSize);
  crypto::seal_in_place(repository.key(), std::span(sealed).subspan(begin));
}

// What would not become smaller is stored as it is, which also spares whoever reads it.
bool UploadSession::State::is_to_compress(ByteView data) const {
  switch (repository.compression()) {
    case Compression::off:
      return false;
    case Compression::max:
      return true;
    case Compression::automatic:
      break;
  }
  return !is_incompressible(data);
}

void UploadSession::State::wait_turn(size_t bytes) {
  if (!options.reserve) return;
  constexpr std::chrono::milliseconds kNap(100);  // how late a stop is seen
  const auto until = options.reserve(bytes);
  for (auto now = std::chrono::steady_clock::now(); now < until;
       now = std::chrono::steady_clock::now()) {
    throw_if_failed();
    std::this_thread::sleep_for(std::min<std::chrono::steady_clock::duration>(until - now, kNap));
  }
}

// Bad memory must not write what nobody can read.
void UploadSession::State::verify(BlobType type, const Id& id, bool compressed, ByteView sealed,
                                  size_t plain_size) {
  Loan frame{scratch}, plain{scratch};
  try {
    frame.bytes.resize(sealed.size() - crypto::kSealOverhead);
    crypto::open(repository.key(), sealed, frame.bytes);
    if (compressed) {
      plain.bytes.resize(plain_size);
      decompress(frame.bytes, plain.bytes);
    }
    if (crypto::sha256(compressed ? plain.bytes : frame.bytes) == id) return;
  } catch (const base::Corrupt&) {  // the same verdict
  }
  throw base::Corrupt("a new " + std::string(type_name(type)) + " blob " + id.hex() +
                      " did not read back as it was saved: memory or processor is faulty");
}

void UploadSession::State::store_blobs(BlobType type, std::span<const Blob> blobs) {
  // What goes into one pack.
  struct Lane {
    std::optional<Loan> sealed;
    std::vector<PackBlob> blobs;
  };
  std::array<Lane, GrowingPack::kAtOnce> lanes;
  const size_t count = std::min(lanes.size(), blobs.size());
  for (size_t i = 0; i < count; ++i) lanes[i].sealed.emplace(scratch);

  uint64_t plain_bytes = 0, sealed_bytes = 0;
  for (const auto& [id, content] : blobs) {
    Lane& lane = *std::min_element(
        lanes.begin(), lanes.begin() + static_cast<ptrdiff_t>(count),
        [](auto& a, auto& b) { return a.sealed->bytes.size() < b.sealed->bytes.size(); });
    Bytes& bytes = lane.sealed->bytes;
    const size_t begin = bytes.size();
    const bool compressed = content.is_frame || type == BlobType::tree ||
                            (!content.is_copy && is_to_compress(content.bytes));
    seal(content, compressed, bytes);
    const ByteView sealed = ByteView(bytes).subspan(begin);
    if (type == BlobType::tree || options.verify_data)
      verify(type, id, compressed, sealed, content.plain_size);
    lane.blobs.push_back(
        {.type = type,
         .id = id,
         .length_bytes = static_cast<uint32_t>(sealed.size()),
         .plain_length_bytes = compressed ? static_cast<uint32_t>(content.plain_size) : 0});
    plain_bytes += content.plain_size;
    sealed_bytes += sealed.size();
  }
  wait_turn(sealed_bytes);

  std::array<SealedBlobs, GrowingPack::kAtOnce> parts;
  for (size_t i = 0; i < count; ++i) parts[i] = {lanes[i].sealed->bytes, lanes[i].blobs};
  auto full = open[static_cast<size_t>(type)].add(std::span(parts).first(count));
  (type == BlobType::data ? data_blobs : tree_blobs) += blobs.size();
  added_bytes += plain_bytes;
  added_packed_bytes += sealed_bytes;
  for (auto& pack : full) submit(std::move(pack));
}

void UploadSession::State::submit(std::unique_ptr<GrowingPack> pack) {
  Bytes end;
  crypto::seal(repository.key(), encode_pack_header(pack->blobs), end);
  const size_t header_length = end.size();
  end.resize(header_length + kHeaderLengthSize);
  base::store_le32(end.data() + header_length, static_cast<uint32_t>(header_length));
  pack->append(repository.store(), pack->size_bytes + end.size(), end);
  if (!queue.push(std::move(pack))) throw_if_failed();
}

// ---- the uploading threads

void UploadSession::State::before_first_pack() {
  if (options.before_first_pack) std::call_once(first_pack, options.before_first_pack);
}

void UploadSession::State::upload(GrowingPack& pack) {
  before_first_pack();
  const Id id = pack.put(repository.store());

  std::optional<NewIndex> full;
  {
    auto index = new_index.lock();
    const auto now = std::chrono::steady_clock::now();
    if (index->entries.empty()) index->since = now;
    if (!index->noted && !repository.index_cache_directory().empty())
      index->noted =
          std::make_unique<ArrivedPacks>(repository.index_cache_directory(), repository.key());
    if (index->noted) index->noted->add(id, pack.blobs);
    index->encoder.add(id, pack.blobs);
    for (const PackBlob& blob : pack.blobs)
      index->entries.push_back(
          {blob.type,
           blob.id,
           {id, blob.offset_bytes, blob.length_bytes, blob.plain_length_bytes}});
    if (index->entries.size() >= options.index_blobs || now - index->since >= options.index_age)
      full = std::exchange(*index, {});
  }
  if (full) write_index(std::move(*full));
}

void UploadSession::State::write_index(NewIndex index) {
  const Id file = repository.save_unpacked(store::Kind::index, index.encoder.finish());
  if (index.noted) index.noted->forget();
  repository.index().add_file(file, index.entries);
  repository.index().settle();
  if (keeps_pending) return;
  for (const IndexEntry& entry : index.entries) pending.forget(entry.type, entry.id);
}

// ---- the session

UploadSession::UploadSession(Repository& repository, UploadOptions options) {
  if (options.pack_size_bytes < kSmallestPack || options.pack_size_bytes > kLargestPack)
    throw base::UsageError("packs are of 4 KiB to 512 MiB");
  state_ = std::make_unique<State>(repository, std::move(options));
}

UploadSession::~UploadSession() {
  if (state_ && !state_->finished) state_->fail(std::make_exception_ptr(base::Cancelled()));
}

UploadSession::Saved UploadSession::save_blob(BlobType type, base::ByteView plain) {
  return save_blob(type, crypto::sha256(plain), plain);
}

UploadSession::Saved UploadSession::save_blob(BlobType type, const Id& id, base::ByteView plain,
                                              bool even_if_known) {
  State::Blob blob{id, {.bytes = plain, .plain_size = plain.size()}};
  return {id, state_->save(type, std::span(&blob, 1), even_if_known) == 1};
}

UploadSession::Saved UploadSession::copy_blob(BlobType type, const Id& id, base::ByteView content,
                                              uint32_t plain_length_bytes) {
  State::Blob blob{id,
                   {.bytes = content,
                    .plain_size = plain_length_bytes ? plain_length_bytes : content.size(),
                    .is_frame = plain_length_bytes != 0,
                    .is_copy = true}};
  return {id, state_->save(type, std::span(&blob, 1), /*even_if_known=*/true) == 1};
}

void UploadSession::save_blobs(BlobType type, std::span<const Id> ids,
                               std::span<const ByteView> plain) {
  DAVIT_CHECK(ids.size() == plain.size());
  std::vector<State::Blob> some;
  size_t bytes = 0;
  const auto save = [&] {
    if (!some.empty()) state_->save(type, some, /*even_if_known=*/false);
    some.clear();
    bytes = 0;
  };
  for (size_t i = 0; i < ids.size(); ++i) {
    if (bytes + plain[i].size() > kMaxChunk) save();
    some.push_back({ids[i], {.bytes = plain[i], .plain_size = plain[i].size()}});
    bytes += plain[i].size();
  }
  save();
}

size_t UploadSession::State::save(BlobType type, std::span<Blob> blobs, bool even_if_known) {
  DAVIT_CHECK(!finished);
  throw_if_failed();
  for (const auto& [id, content] : blobs) {
    if (content.plain_size == 0) throw base::UsageError("there are no empty blobs");
    if (content.plain_size > kMaxBlob)
      throw base::Unsupported("a blob of " + base::human_size(content.plain_size) +
                              " is too large for the repository's format");
  }
  if (even_if_known) keeps_pending = true;
  size_t claimed = 0;
  try {
    for (const Blob& blob : blobs)
      if (claim(type, blob.id, even_if_known)) blobs[claimed++] = blob;
    if (claimed > 0) store_blobs(type, blobs.first(claimed));
  } catch (...) {
    // Others were told that it is stored already.
    fail(std::current_exception());
    throw;
  }
  return claimed;
}

bool UploadSession::State::claim(BlobType type, const Id& id, bool even_if_known) {
  const Index& index = repository.index();
  if (!even_if_known && index.contains(type, id)) return false;
  if (!pending.claim(type, id)) return false;
  // An index file may have taken it over between the two looks; then it is no longer pending.
  if (!even_if_known && index.contains(type, id)) {
    pending.forget(type, id);
    return false;
  }
  return true;
}

void UploadSession::finish() {
  State& state = *state_;
  state.throw_if_failed();
  if (state.finished) return;
  try {
    for (OpenPacks& open : state.open)
      for (auto& rest : open.take_rests()) state.submit(std::move(rest));
    state.queue.close();
    state.crew.join();
    state.throw_if_failed();
    NewIndex rest = std::exchange(*state.new_index.lock(), {});
    if (!rest.entries.empty()) state.write_index(std::move(rest));
  } catch (...) {
    state.fail(std::current_exception());
    throw;
  }
  state.finished = true;
}

UploadCounts UploadSession::counts() const {
  return {state_->data_blobs, state_->tree_blobs, state_->added_bytes, state_->added_packed_bytes};
}

}  // namespace davit::repo
