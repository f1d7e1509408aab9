// What the inner loops of backup and restore cost, each alone on one core. Read bytes_per_second;
// items are blobs, nodes or index entries.
#include <benchmark/benchmark.h>

#include "crypto/seal.h"
#include "crypto/sha256.h"
#include "crypto/sha256_lanes.h"
#include "repo/chunker.h"
#include "repo/codec.h"
#include "repo/index.h"
#include "repo/index_file.h"
#include "repo/open_packs.h"
#include "repo/tree.h"
#include "support/memory_store.h"
#include "support/stream.h"
#include "support/temp_dir.h"

namespace davit {
namespace {

void count(benchmark::State& state, size_t bytes, size_t items = 1) {
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * bytes));
  state.SetItemsProcessed(static_cast<int64_t>(state.iterations() * items));
}

void BM_Chunker(benchmark::State& state) {
  const repo::Chunker chunker(repo::Polynomial{0x3da3358b4dc173});
  const base::Bytes data = test::Stream(1).bytes(64 << 20);
  for (auto _ : state) {
    for (base::ByteView rest = data; !rest.empty();) {
      const base::ByteView ahead = rest.first(std::min(rest.size(), repo::kMaxChunk));
      rest = rest.subspan(chunker.next_cut(ahead, ahead.size() == rest.size()));
    }
  }
  count(state, data.size());
}
BENCHMARK(BM_Chunker)->Unit(benchmark::kMillisecond);

// Every place is looked at: nothing ever cuts.
void BM_ChunkerWithoutCuts(benchmark::State& state) {
  const repo::Chunker chunker(repo::Polynomial{0x3da3358b4dc173});
  const base::Bytes data(repo::kMaxChunk, 1);
  for (auto _ : state) benchmark::DoNotOptimize(chunker.next_cut(data, true));
  count(state, data.size() - repo::kMinChunk);
}
BENCHMARK(BM_ChunkerWithoutCuts)->Unit(benchmark::kMillisecond);

void BM_Sha256(benchmark::State& state) {
  const base::Bytes data = test::Stream(1).bytes(static_cast<size_t>(state.range(0)));
  for (auto _ : state) benchmark::DoNotOptimize(crypto::sha256(data));
  count(state, data.size());
}
BENCHMARK(BM_Sha256)->Arg(100)->Arg(4096)->Arg(1 << 20);

void BM_Sha256Each(benchmark::State& state) {
  constexpr size_t kMessages = 12;
  const base::Bytes data = test::Stream(1).bytes(static_cast<size_t>(state.range(0)));
  const std::vector<base::ByteView> messages(kMessages, data);
  std::vector<base::Id> ids(kMessages);
  for (auto _ : state) {
    crypto::sha256_each(messages, ids);
    benchmark::DoNotOptimize(ids.data());
  }
  count(state, kMessages * data.size(), kMessages);
}
BENCHMARK(BM_Sha256Each)->Arg(100)->Arg(4096)->Arg(1 << 20);

// Arguments: bytes of each part, and streams that take one at once.
void BM_Sha256Stream(benchmark::State& state) {
  const auto streams_at_once = static_cast<size_t>(state.range(1));
  const base::Bytes data = test::Stream(1).bytes(static_cast<size_t>(state.range(0)));
  const std::vector<base::ByteView> parts(streams_at_once, data);
  std::vector<crypto::Sha256Stream> streams(streams_at_once);
  std::vector<crypto::Sha256Stream*> each;
  for (auto& stream : streams) each.push_back(&stream);
  for (auto _ : state) crypto::Sha256Stream::update_each(each, parts);
  count(state, parts.size() * data.size(), parts.size());
}
BENCHMARK(BM_Sha256Stream)->ArgsProduct({{100, 1 << 20}, {1, 2, 3}});

void BM_Seal(benchmark::State& state) {
  const crypto::Key key = crypto::Key::random();
  const base::Bytes plain = test::Stream(1).bytes(static_cast<size_t>(state.range(0)));
  base::Bytes sealed;
  for (auto _ : state) {
    sealed.clear();
    crypto::seal(key, plain, sealed);
    benchmark::DoNotOptimize(sealed.data());
  }
  count(state, plain.size());
}
BENCHMARK(BM_Seal)->Arg(100)->Arg(4096)->Arg(1 << 20);

void BM_Open(benchmark::State& state) {
  const crypto::Key key = crypto::Key::random();
  base::Bytes sealed;
  base::Bytes plain = test::Stream(1).bytes(static_cast<size_t>(state.range(0)));
  crypto::seal(key, plain, sealed);
  for (auto _ : state) {
    crypto::open(key, sealed, plain);
    benchmark::DoNotOptimize(plain.data());
  }
  count(state, plain.size());
}
BENCHMARK(BM_Open)->Arg(100)->Arg(4096)->Arg(1 << 20);

// Arguments: size, and 1 for bytes that compress.
void BM_Compress(benchmark::State& state) {
  base::Bytes plain = test::Stream(1).bytes(static_cast<size_t>(state.range(0)));
  if (state.range(1) != 0) {
    for (auto& byte : plain) byte &= 7;
  }
  base::Bytes frame;
  for (auto _ : state) {
    frame.clear();
    repo::compress(plain, frame);
    benchmark::DoNotOptimize(frame.data());
  }
  count(state, plain.size());
}
BENCHMARK(BM_Compress)->Args({4096, 0})->Args({4096, 1})->Args({1 << 20, 0})->Args({1 << 20, 1});

void BM_Decompress(benchmark::State& state) {
  base::Bytes plain = test::Stream(1).bytes(static_cast<size_t>(state.range(0)));
  if (state.range(1) != 0) {
    for (auto& byte : plain) byte &= 7;
  }
  base::Bytes frame;
  repo::compress(plain, frame);
  for (auto _ : state) {
    repo::decompress(frame, plain);
    benchmark::DoNotOptimize(plain.data());
  }
  count(state, plain.size());
}
BENCHMARK(BM_Decompress)->Args({4096, 1})->Args({1 << 20, 0})->Args({1 << 20, 1});

std::vector<repo::Node> some_nodes(size_t number) {
  test::Stream random(1);
  std::vector<repo::Node> nodes(number);
  for (size_t i = 0; i < number; ++i) {
    repo::Node& node = nodes[i];
    node.name = "file-" + std::to_string(1'000'000 + i) + ".dat";
    node.mode = repo::go_mode(S_IFREG | 0644);
    node.mtime = node.atime = {1'700'000'000 + static_cast<int64_t>(random.below(50'000'000)),
                               static_cast<uint32_t>(random.below(1'000'000'000))};
    node.ctime = {1'750'000'000, static_cast<uint32_t>(random.below(1'000'000'000))};
    node.uid = node.gid = 999;
    node.inode = random.below(10'000'000);
    node.size = random.below(100'000);
    node.links = 1;
    node.content = {crypto::sha256(base::as_bytes(node.name))};
  }
  return nodes;
}

void BM_TreeEncode(benchmark::State& state) {
  const auto nodes = some_nodes(10'000);
  size_t size = 0;
  for (auto _ : state) {
    repo::TreeEncoder encoder;
    for (const repo::Node& node : nodes) encoder.add(node);
    size = encoder.finish().size();
  }
  count(state, size, nodes.size());
}
BENCHMARK(BM_TreeEncode)->Unit(benchmark::kMicrosecond);

void BM_TreeParse(benchmark::State& state) {
  const auto nodes = some_nodes(10'000);
  repo::TreeEncoder encoder;
  for (const repo::Node& node : nodes) encoder.add(node);
  const base::Bytes tree = encoder.finish();
  for (auto _ : state) {
    uint64_t sum = 0;
    repo::parse_tree(tree, [&](repo::Node&& node) { sum += node.size; });
    benchmark::DoNotOptimize(sum);
  }
  count(state, tree.size(), nodes.size());
}
BENCHMARK(BM_TreeParse)->Unit(benchmark::kMicrosecond);

std::vector<repo::PackBlob> some_blobs(size_t number) {
  std::vector<repo::PackBlob> blobs(number);
  uint32_t offset = 0;
  for (size_t i = 0; i < number; ++i) {
    const auto id = crypto::sha256(base::as_bytes(std::to_string(i)));
    const uint32_t length = 32 + id.bytes[0] * 100u;
    blobs[i] = {repo::BlobType::data, id, offset, length, length * 2};
    offset += length;
  }
  return blobs;
}

void BM_IndexEncode(benchmark::State& state) {
  const auto blobs = some_blobs(50'000);
  size_t size = 0;
  for (auto _ : state) {
    repo::IndexEncoder encoder;
    for (size_t i = 0; i < blobs.size(); i += 500)
      encoder.add(blobs[i].id, std::span(blobs).subspan(i, 500));
    size = encoder.finish().size();
  }
  count(state, size, blobs.size());
}
BENCHMARK(BM_IndexEncode)->Unit(benchmark::kMillisecond);

void BM_IndexParse(benchmark::State& state) {
  const auto blobs = some_blobs(50'000);
  repo::IndexEncoder encoder;
  for (size_t i = 0; i < blobs.size(); i += 500)
    encoder.add(blobs[i].id, std::span(blobs).subspan(i, 500));
  const base::Bytes json = encoder.finish();
  for (auto _ : state) {
    size_t sum = 0;
    repo::parse_index(
        json, [&](const base::Id&, std::span<const repo::PackBlob> some) { sum += some.size(); });
    benchmark::DoNotOptimize(sum);
  }
  count(state, json.size(), blobs.size());
}
BENCHMARK(BM_IndexParse)->Unit(benchmark::kMillisecond);

// Sealed blobs into packs that grow in the store's memory, hashed there, header included. The
// second argument: how many go in together.
void BM_Pack(benchmark::State& state) {
  const auto size = static_cast<size_t>(state.range(0)), lanes = static_cast<size_t>(state.range(1));
  constexpr size_t kBytes = 64 << 20;
  const base::Bytes sealed = test::Stream(1).bytes(size);
  const repo::PackBlob blob{repo::BlobType::data, crypto::sha256(sealed), 0,
                            static_cast<uint32_t>(size), 0};
  const std::vector<repo::SealedBlobs> some(lanes, {sealed, std::span(&blob, 1)});
  test::MemoryStore store;
  const auto end = [](std::vector<std::unique_ptr<repo::GrowingPack>> packs) {
    for (const auto& pack : packs) {
      benchmark::DoNotOptimize(repo::encode_pack_header(pack->blobs));
      benchmark::DoNotOptimize(pack->hash.finish());
    }
  };
  for (auto _ : state) {
    repo::OpenPacks packs(store, 16 << 20);
    for (size_t done = 0; done < kBytes; done += size * lanes) end(packs.add(some));
    end(packs.take_rests());
  }
  count(state, kBytes, kBytes / size);
}
BENCHMARK(BM_Pack)->ArgsProduct({{4096, 1 << 20}, {1, 3}})->Unit(benchmark::kMillisecond);

// Whether a blob is known: the first argument says how many are, the second whether the index is a
// mapped file, the third whether those that are asked for are in it.
void BM_IndexLookUp(benchmark::State& state) {
  const auto number = static_cast<size_t>(state.range(0));
  const auto blobs = some_blobs(number);
  const auto others = some_blobs(2 * number);
  const test::TempDir directory;
  repo::Index index;
  if (state.range(1) != 0)
    index.use_cache(directory / "index", blobs[0].id, {.blobs_in_memory = 0, .files_in_memory = 0},
                    [] {});
  std::vector<repo::IndexEntry> entries;
  for (const auto& blob : blobs)
    entries.push_back({blob.type, blob.id, {blobs[0].id, blob.offset_bytes, blob.length_bytes, 0}});
  index.add_file(blobs[0].id, entries);
  if (state.range(1) != 0) index.settle();
  const size_t first = state.range(2) != 0 ? 0 : number;
  size_t at = 0, found = 0;
  for (auto _ : state) {
    found += index.contains(repo::BlobType::data, others[first + at].id);
    at = (at + 7919) % number;
  }
  const auto wanted = state.range(2) != 0 ? state.iterations() : 0;
  if (static_cast<int64_t>(found) != static_cast<int64_t>(wanted)) state.SkipWithError("wrong answers");
  count(state, 0);
}
BENCHMARK(BM_IndexLookUp)->ArgsProduct({{500'000}, {0, 1}, {0, 1}});

}  // namespace
}  // namespace davit
