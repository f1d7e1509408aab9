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
#include "base/synchronized.h"
#include "crypto/seal.h"
#include "crypto/sha256.h"
#include "repo/codec.h"
#include "repo/growing_pack.h"
#include "repo/index_file.h"
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
// Keeps a header far below its limit of 16 MiB, whatever the pack's size.
constexpr size_t kMaxBlobsPerPack = 65'536;
// What stands behind the only blob of a pack.
constexpr size_t kMaxLoneHeader = 128;
// A pack's offsets and lengths have 32 bits.
constexpr size_t kMaxBlob = 0xf000'0000;

// Packs that arrived and are in no index file yet.
struct NewIndex {
  IndexEncoder encoder;
  std::vector<IndexEntry> entries;
  std::chrono::steady_clock::time_point since;  // the first of them
};

}  // namespace

struct UploadSession::State {
  struct OpenPack {
    std::mutex mutex;
    std::unique_ptr<GrowingPack> pack;  // null: nothing in it yet
  };
  // A blob's bytes: plain, or the zstd frame of `plain_size` of them.
  struct Content {
    ByteView bytes;
    size_t plain_size = 0;
    bool is_frame = false;
    bool is_copy = false;  // stays as it is where it may
  };

  State(Repository& repository, UploadOptions options);

  void fail(std::exception_ptr why);
  void throw_if_failed();

  // The calling thread's part.
  Saved save(BlobType type, const Id& id, const Content& content, bool even_if_known);
  void store_blob(BlobType type, const Id& id, const Content& content);
  void seal(const Content& content, bool compressed, Bytes& sealed);
  // Until so many bytes may go.
  void wait_turn(size_t bytes);
  void verify(BlobType type, const Id& id, bool compressed, ByteView sealed, size_t plain_size);
  // Locked, by chance or because nobody else is at it.
  OpenPack& choose_pack(BlobType type, std::unique_lock<std::mutex>& lock);
  void submit(std::unique_ptr<GrowingPack> pack);
  void submit_rests();
  // What a pack comes to, more or less.
  size_t expected_bytes() const;

  // The uploading threads' part.
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
  std::array<std::array<OpenPack, 2>, 2> open;  // by type; which of the two is left to chance
  base::Synchronized<NewIndex> new_index;
  base::BoundedQueue<std::unique_ptr<GrowingPack>> queue;
  std::once_flag first_pack;

  bool finished = false;  // the owner's

  // Last, so that they end first.
  base::Crew crew;
  std::optional<std::stop_callback<std::function<void()>>> on_stop;
};

UploadSession::State::State(Repository& repository, UploadOptions options)
    : repository(repository),
      options(std::move(options)),
      scratch(base::processor_count() + 4),
      queue(repository.store().connections()),
      crew([this] { queue.stop(); }) {
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
}

void UploadSession::State::throw_if_failed() {
  if (!failed.load(std::memory_order_acquire)) return;
  std::rethrow_exception(failure.with([](const auto& first) { return first; }));
}

// ---- the calling thread

void UploadSession::State::seal(const Content& content, bool compressed, Bytes& sealed) {
  sealed.resize(crypto::kIvSize);
  if (compressed && !content.is_frame) {
    compress(content.bytes, sealed,
             repository.compression() == Compression::max ? kMaxLevel : kDefaultLevel);
  } else {
    base::append(sealed, content.bytes);
  }
  sealed.resize(sealed.size() + crypto::kTagSize);
  crypto::seal_in_place(repository.key(), sealed);
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

void UploadSession::State::store_blob(BlobType type, const Id& id, const Content& content) {
  Loan sealed{scratch};
  const bool compressed = content.is_frame || type == BlobType::tree ||
                          (!content.is_copy && repository.compression() != Compression::off);
  seal(content, compressed, sealed.bytes);
  if (type == BlobType::tree || options.verify_data)
    verify(type, id, compressed, sealed.bytes, content.plain_size);

  const PackBlob blob{
      .type = type,
      .id = id,
      .plain_length_bytes = compressed ? static_cast<uint32_t>(content.plain_size) : 0};
  const size_t length = sealed.bytes.size();
  wait_turn(length);
  std::unique_ptr<GrowingPack> full;
  if (length >= options.pack_size_bytes) {
    full = std::make_unique<GrowingPack>();
    full->add(repository.store(), length + kMaxLoneHeader, blob, sealed.bytes);
  } else {
    std::unique_lock<std::mutex> lock;
    OpenPack& place = choose_pack(type, lock);
    if (!place.pack) place.pack = std::make_unique<GrowingPack>();
    place.pack->add(repository.store(), expected_bytes(), blob, sealed.bytes);
    if (place.pack->size_bytes >= options.pack_size_bytes ||
        place.pack->blobs.size() >= kMaxBlobsPerPack)
      full = std::move(place.pack);
  }
  ++(type == BlobType::data ? data_blobs : tree_blobs);
  added_bytes += content.plain_size;
  added_packed_bytes += length;
  if (full) submit(std::move(full));
}

UploadSession::State::OpenPack& UploadSession::State::choose_pack(
    BlobType type, std::unique_lock<std::mutex>& lock) {
  auto& pair = open[static_cast<size_t>(type)];
  uint8_t choice;
  crypto::random_bytes(std::span(&choice, 1));
  for (const unsigned number : {choice & 1u, ~choice & 1u}) {
    lock = std::unique_lock(pair[number].mutex, std::try_to_lock);
    if (lock) return pair[number];
  }
  lock = std::unique_lock(pair[choice & 1].mutex);
  return pair[choice & 1];
}

size_t UploadSession::State::expected_bytes() const {
  return options.pack_size_bytes + options.pack_size_bytes / 8;
}

void UploadSession::State::submit(std::unique_ptr<GrowingPack> pack) {
  Bytes end;
  crypto::seal(repository.key(), encode_pack_header(pack->blobs), end);
  const size_t header_length = end.size();
  end.resize(header_length + kHeaderLengthSize);
  base::store_le32(end.data() + header_length, static_cast<uint32_t>(header_length));
  pack->append(repository.store(), expected_bytes(), end);
  if (!queue.push(std::move(pack))) throw_if_failed();
}

// At the end: the two open packs of a type become one where that is not too large.
void UploadSession::State::submit_rests() {
  for (auto& pair : open) {
    auto first = std::move(pair[0].pack), second = std::move(pair[1].pack);
    if (first && second && first->size_bytes < second->size_bytes) std::swap(first, second);
    if (first && second && first->size_bytes + second->size_bytes < options.pack_size_bytes &&
        first->blobs.size() + second->blobs.size() <= kMaxBlobsPerPack) {
      Loan sealed{scratch};
      for (const PackBlob& blob : second->blobs) {
        second->read(blob, sealed.bytes);
        first->add(repository.store(), expected_bytes(), blob, sealed.bytes);
      }
      second = {};
    }
    if (first) submit(std::move(first));
    if (second) submit(std::move(second));
  }
}

// ---- the uploading threads

void UploadSession::State::upload(GrowingPack& pack) {
  if (options.before_first_pack) std::call_once(first_pack, options.before_first_pack);
  const Id id = pack.put(repository.store());

  std::optional<NewIndex> full;
  {
    auto index = new_index.lock();
    const auto now = std::chrono::steady_clock::now();
    if (index->entries.empty()) index->since = now;
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
  return state_->save(type, id, {.bytes = plain, .plain_size = plain.size()}, even_if_known);
}

UploadSession::Saved UploadSession::copy_blob(BlobType type, const Id& id, base::ByteView content,
                                              uint32_t plain_length_bytes) {
  return state_->save(type, id,
                      {.bytes = content,
                       .plain_size = plain_length_bytes ? plain_length_bytes : content.size(),
                       .is_frame = plain_length_bytes != 0,
                       .is_copy = true},
                      /*even_if_known=*/true);
}

UploadSession::Saved UploadSession::State::save(BlobType type, const Id& id, const Content& content,
                                                bool even_if_known) {
  DAVIT_CHECK(!finished);
  throw_if_failed();
  if (content.plain_size == 0) throw base::UsageError("there are no empty blobs");
  if (content.plain_size > kMaxBlob)
    throw base::Unsupported("a blob of " + base::human_size(content.plain_size) +
                            " is too large for the repository's format");
  const Index& index = repository.index();
  if (even_if_known) {
    keeps_pending = true;
  } else if (index.contains(type, id)) {
    return {id, false};
  }
  if (!pending.claim(type, id)) return {id, false};
  // An index file may have taken it over between the two looks; then it is no longer pending.
  if (!even_if_known && index.contains(type, id)) {
    pending.forget(type, id);
    return {id, false};
  }
  try {
    store_blob(type, id, content);
  } catch (...) {
    // Others were told that it is stored already.
    fail(std::current_exception());
    throw;
  }
  return {id, true};
}

void UploadSession::finish() {
  State& state = *state_;
  state.throw_if_failed();
  if (state.finished) return;
  try {
    state.submit_rests();
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
