// Snapshots, config, keys, locks, indexes and packs, against restic's own.
#include "base/files.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>

#include "base/errors.h"
#include "crypto/scrypt.h"
#include "crypto/sha256.h"
#include "repo/codec.h"
#include "repo/index_file.h"
#include "repo/pack_header.h"
#include "repo/small_files.h"
#include "repo/tree.h"
#include "support/temp_dir.h"
#include "support/vectors.h"

namespace davit::repo {
namespace {

using base::as_bytes;
using test::text_of;
using test::tiny_repository;

TEST(SnapshotFile, ResticsComeBackByteForByte) {
  ASSERT_EQ(tiny_repository()["snapshots"].size(), 2u);
  for (const auto& [id, json] : tiny_repository()["snapshots"].items()) {
    const std::string text = json.get<std::string>();
    EXPECT_EQ(text_of(encode_snapshot(parse_snapshot(as_bytes(text)))), text);
  }
}

TEST(SnapshotFile, KnowsEveryField) {
  const std::string json =
      tiny_repository()["snapshots"]
                       ["d54ce490dce40d8b82350fd137959303a4519c4ee7ee901ddaa1d117848cff5d"];
  const Snapshot snapshot = parse_snapshot(as_bytes(json));
  EXPECT_EQ(format(snapshot.time), "2026-11-22T14:49:49.65080031Z");
  EXPECT_EQ(snapshot.time.time, base::parse_rfc3339("2026-11-22T14:49:49.65080031Z"));
  EXPECT_EQ(snapshot.parent->short_hex(), "1e87c9e0");
  EXPECT_EQ(snapshot.original->short_hex(), "7cf0e602");
  EXPECT_EQ(snapshot.tree.short_hex(), "c878b011");
  EXPECT_EQ(snapshot.paths, std::vector<std::string>{"/vector-source"});
  EXPECT_EQ(snapshot.hostname, "h");
  EXPECT_EQ(snapshot.username, "root");
  EXPECT_EQ(snapshot.excludes, std::vector<std::string>{"*.nope"});
  EXPECT_TRUE(snapshot.has_tag("one") && snapshot.has_tag("two") && !snapshot.has_tag("three"));
  EXPECT_EQ(snapshot.program_version, "restic 0.18.0");
  EXPECT_EQ(snapshot.summary->files_unmodified, 18u);
  EXPECT_EQ(snapshot.summary->dirs_unmodified, 3u);
  EXPECT_EQ(snapshot.summary->total_bytes_processed, 20971575u);
}

TEST(SnapshotFile, KeepsItsZone) {
  Snapshot snapshot;
  snapshot.time = parse_zoned_time("2026-11-22T00:30:00.5+05:30");
  EXPECT_EQ(snapshot.time.offset_minutes, 330);
  EXPECT_EQ(snapshot.time.time, base::parse_rfc3339("2026-11-21T19:00:00.5Z"));
  snapshot.uid = 1000;
  snapshot.gid = 100;
  snapshot.paths = {"/a<b>\xff"};
  const std::string text = text_of(encode_snapshot(snapshot));
  EXPECT_EQ(text, "{\"time\":\"2026-11-22T00:30:00.5+05:30\",\"tree\":\"" + std::string(64, '0') +
                      "\",\"paths\":[\"/a\\u003cb\\u003e\\ufffd\"],\"uid\":1000,\"gid\":100}");
  EXPECT_EQ(parse_snapshot(as_bytes(text)).time, snapshot.time);
  EXPECT_EQ(format(parse_zoned_time("2026-11-22T00:30:00-00:45")), "2026-11-22T00:30:00-00:45");
  EXPECT_EQ(format(parse_zoned_time("1960-01-01T00:00:00.25+00:00")), "1960-01-01T00:00:00.25Z");
}

TEST(SnapshotFile, TimesBeyondTheClocksRangeBecomeItsEnds) {
  EXPECT_EQ(parse_zoned_time("0001-01-01T00:00:00Z").time, base::Time::min());
  EXPECT_EQ(parse_zoned_time("9999-01-01T00:00:00Z").time, base::Time::max());
  EXPECT_NO_THROW(parse_zoned_time(format({base::Time::min(), 0})));
  EXPECT_NO_THROW(parse_zoned_time(format({base::Time::max(), -1439})));
  for (const char* bad :
       {"", "now", "2026-11-22", "2026-11-22T00:30:00", "2026-11-22t00:30:00Z",
        "2026-11-22T24:00:00Z", "2026-11-22T00:60:00Z", "2026-11-22T00:00:60Z",
        "2026-00-22T00:30:00Z", "2026-11-31T00:30:00Z", "2026-11-22T00:30:00+5:00",
        "2026-11-22T00:30:00+24:00", "2026-11-22T00:30:00Z ", "+026-11-22T00:30:00Z"}) {
    EXPECT_THROW(parse_zoned_time(bad), base::Corrupt) << bad;
  }
}

TEST(SnapshotFile, NeedsATimeAndATree) {
  const std::string tree = "\"tree\":\"" + std::string(64, 'a') + "\"";
  EXPECT_NO_THROW(parse_snapshot(
      as_bytes("{\"time\":\"2026-11-22T00:30:00Z\"," + tree + ",\"label\":{\"a\":[1]}}")));
  for (const std::string& json :
       {std::string("{}"), "{" + tree + "}", std::string("{\"time\":\"2026-11-22T00:30:00Z\"}"),
        "{\"time\":null," + tree + "}", "{\"time\":5," + tree + "}", std::string("[]")}) {
    EXPECT_THROW(parse_snapshot(as_bytes(json)), base::Corrupt) << json;
  }
}

TEST(ConfigFile, TheVectorsComesBackByteForByte) {
  const std::string plain = tiny_repository()["config_plain"];
  const ConfigFile config = parse_config(as_bytes(plain));
  EXPECT_EQ(config.version, 2u);
  EXPECT_EQ(config.id, crypto::sha256(as_bytes("vector-id")));
  EXPECT_EQ(config.chunker_polynomial.bits, 0x3da3358b4dc173u);
  EXPECT_EQ(text_of(encode_config(config)), plain);
}

TEST(ConfigFile, RefusesOtherVersionsAndUnusablePolynomials) {
  const auto config = [](const char* version, const char* polynomial) {
    return "{\"version\":" + std::string(version) + ",\"id\":\"" + std::string(64, 'a') +
           "\",\"chunker_polynomial\":\"" + polynomial + "\",\"compression\":3}";
  };
  EXPECT_NO_THROW(parse_config(as_bytes(config("1", "3da3358b4dc173"))));
  EXPECT_THROW(parse_config(as_bytes(config("3", "3da3358b4dc173"))), base::Unsupported);
  EXPECT_THROW(parse_config(as_bytes(config("0", "3da3358b4dc173"))), base::Unsupported);
  EXPECT_THROW(parse_config(as_bytes(config("2", "3da3358b4dc172"))), base::Corrupt);
  EXPECT_THROW(parse_config(as_bytes(config("2", "11b"))), base::Corrupt);
  EXPECT_THROW(parse_config(as_bytes(config("2", ""))), base::Corrupt);
  EXPECT_THROW(parse_config(as_bytes("{\"version\":2,\"chunker_polynomial\":\"3da3358b4dc173\"}")),
               base::Corrupt);
}

TEST(KeyFile, TheVectorsComesBackByteForByteAndOpens) {
  const std::string json = tiny_repository()["keyfile_json"];
  EXPECT_EQ(crypto::sha256(as_bytes(json)).hex(),
            tiny_repository()["keyfile_name"].get<std::string>());
  const KeyFile file = parse_key_file(as_bytes(json));
  EXPECT_EQ(text_of(encode_key_file(file)), json);
  const auto derived =
      crypto::derive("test", file.salt, file.scrypt_n, file.scrypt_r, file.scrypt_p);
  const base::Bytes master = crypto::open(crypto::Key::from_bytes(derived), file.data);
  EXPECT_EQ(text_of(encode_master_key(parse_master_key(master))),
            tiny_repository()["master_json"].get<std::string>());
  EXPECT_EQ(parse_master_key(master).encrypt, crypto::sha256(as_bytes("vector-enc")).bytes);
}

TEST(KeyFile, RefusesWhatIsNone) {
  const std::string json = tiny_repository()["keyfile_json"];
  const auto without = [&](const std::string& from, const std::string& to) {
    std::string changed = json;
    const size_t at = changed.find(from);
    return at == changed.npos ? std::string("?") : changed.replace(at, from.size(), to);
  };
  EXPECT_THROW(parse_key_file(as_bytes(without("scrypt", "argon2"))), base::Unsupported);
  EXPECT_THROW(parse_key_file(as_bytes(without("\"salt\":\"s0lf", "\"salt\":\""))), base::Corrupt);
  EXPECT_THROW(parse_key_file(as_bytes(without("\"data\"", "\"atad\""))), base::Corrupt);
  EXPECT_THROW(parse_key_file(as_bytes(without("\"p\":5", "\"p\":-5"))), base::Corrupt);
  EXPECT_THROW(
      parse_master_key(as_bytes(
          R"({"mac":{"k":"HXdzgLHpu0w7O4lSYq004Q=="},"encrypt":"B5s2WmHpuvBLaxqZJ+PxwvJwTJbO0Q5nCXTWemzF/6c="})")),
      base::Corrupt);
  EXPECT_THROW(parse_master_key(as_bytes(R"({"mac":{"k":"AAAA","r":"AAAA"},"encrypt":"AAAA"})")),
               base::Corrupt);
}

TEST(LockFile, ResticsComesBackByteForByte) {
  for (const auto& [id, json] : tiny_repository()["locks"].items()) {
    const std::string text = json.get<std::string>();
    const LockFile lock = parse_lock(as_bytes(text));
    EXPECT_EQ(lock.hostname, "other");
    EXPECT_EQ(lock.pid, 4242);
    EXPECT_FALSE(lock.exclusive);
    EXPECT_EQ(text_of(encode_lock(lock)), text);
  }
  LockFile mine{parse_zoned_time("2026-11-22T12:00:00Z"), true, "h\n", "u", 1, 5, 6};
  EXPECT_EQ(
      text_of(encode_lock(mine)),
      R"({"time":"2026-11-22T12:00:00Z","exclusive":true,"hostname":"h\n","username":"u","pid":1,"uid":5,"gid":6})");
  EXPECT_EQ(parse_lock(encode_lock(mine)), mine);
  EXPECT_THROW(parse_lock(as_bytes(R"({"exclusive":true})")), base::Corrupt);
  EXPECT_THROW(parse_lock(as_bytes(R"({"time":"2026-11-22T12:00:00Z","exclusive":1})")),
               base::Corrupt);
}

using Packs = std::map<base::Id, std::vector<PackBlob>>;

Packs read_index(base::ByteView json) {
  Packs packs;
  parse_index(json, [&](const base::Id& pack, std::span<const PackBlob> blobs) {
    packs[pack].assign(blobs.begin(), blobs.end());
  });
  return packs;
}

Packs packs_of_vectors() {
  Packs packs;
  for (const auto& [id, blobs] : tiny_repository()["packs"].items()) {
    for (const auto& blob : blobs) {
      const std::string type = blob["type"];
      packs[test::id_of(id)].push_back({type.starts_with("tree") ? BlobType::tree : BlobType::data,
                                        test::id_of(blob["id"]), blob["offset"].get<uint32_t>(),
                                        blob["length"].get<uint32_t>(),
                                        blob.value("uncompressed_length", 0u)});
    }
  }
  return packs;
}

TEST(IndexFile, SaysOfResticsPacksWhatTheirHeadersSay) {
  Packs indexed;
  for (const auto& [id, json] : tiny_repository()["index"].items()) {
    for (auto& [pack, blobs] : read_index(as_bytes(json.get<std::string>()))) {
      std::sort(blobs.begin(), blobs.end(),
                [](const auto& a, const auto& b) { return a.offset_bytes < b.offset_bytes; });
      indexed[pack] = blobs;
    }
  }
  EXPECT_EQ(indexed, packs_of_vectors());
}

TEST(IndexFile, ReadsWhatItWrites) {
  Packs packs = packs_of_vectors();
  packs.begin()->second[0].plain_length_bytes = 0;
  packs[crypto::sha256({})] = {};
  IndexEncoder encoder;
  size_t count = 0;
  for (const auto& [pack, blobs] : packs) {
    encoder.add(pack, blobs);
    count += blobs.size();
  }
  EXPECT_EQ(encoder.blob_count(), count);
  const base::Bytes json = encoder.finish();
  EXPECT_TRUE(nlohmann::json::accept(text_of(json)));
  EXPECT_EQ(read_index(json), packs);
  EXPECT_EQ(encoder.blob_count(), 0u);
  EXPECT_EQ(text_of(encoder.finish()), "{\"packs\":[]}\n");
}

TEST(IndexFile, ResticsComesBackByteForByte) {
  for (const auto& [id, json] : tiny_repository()["index"].items()) {
    const std::string text = json.get<std::string>();
    IndexEncoder encoder;
    parse_index(as_bytes(text), [&](const base::Id& pack, std::span<const PackBlob> blobs) {
      encoder.add(pack, blobs);
    });
    EXPECT_EQ(text_of(encoder.finish()), text.ends_with('\n') ? text : text + "\n");
  }
}

TEST(IndexFile, ReadsForeignOnesInAnyOrder) {
  const std::string a(64, 'a'), b(64, 'b');
  const Packs packs =
      read_index(as_bytes("{\"supersedes\":[\"" + a + "\"],\"packs_to_delete\":[{\"id\":\"" + b +
                          "\",\"blobs\":[]}],\"packs\":[{\"time\":\"x\",\"blobs\":[{\"length\":32,"
                          "\"offset\":7,\"type\":\"tree\",\"x\":{},\"id\":\"" +
                          b + "\"}],\"size\":5,\"id\":\"" + a + "\"}]}"));
  ASSERT_EQ(packs.size(), 1u);
  EXPECT_EQ(packs.begin()->second.at(0), (PackBlob{BlobType::tree, test::id_of(b), 7, 32, 0}));
}

TEST(IndexFile, RefusesWhatIsNone) {
  const std::string a(64, 'a');
  const auto with = [&](const std::string& blob) {
    return "{\"packs\":[{\"id\":\"" + a + "\",\"blobs\":[{" + blob + "}]}]}";
  };
  const std::string good = "\"id\":\"" + a + "\",\"type\":\"data\",\"offset\":0,\"length\":32";
  EXPECT_EQ(read_index(as_bytes(with(good))).size(), 1u);
  for (const std::string& json :
       {std::string("{}"), std::string("[]"), std::string(),
        std::string("{\"packs\":[{\"blobs\":[]}]}"), with(""), with("\"id\":\"" + a + "\""),
        with("\"id\":\"" + a + "\",\"type\":\"data\",\"offset\":0,\"length\":31"),
        with("\"id\":\"" + a + "\",\"type\":\"zip\",\"offset\":0,\"length\":32"),
        with(good + ",\"offset\":4294967296"), with(good + ",\"offset\":4294967290"),
        with(good + ",\"length\":-1"), with(good + ",\"length\":1.5"), with(good) + "x",
        std::string("{\"packs\":[],\"packs\":[]}"), with(good).substr(0, 150)}) {
    EXPECT_THROW(read_index(as_bytes(json)), base::Corrupt) << json;
  }
}

TEST(PackHeader, ReadsWhatItWrites) {
  for (const auto& [id, blobs] : packs_of_vectors()) {
    const base::Bytes header = encode_pack_header(blobs);
    EXPECT_EQ(header.size() + crypto::kSealOverhead + kHeaderLengthSize, header_size(blobs));
    EXPECT_EQ(parse_pack_header(header, pack_size(blobs)), blobs);
    EXPECT_THROW(parse_pack_header(header, pack_size(blobs) + 1), base::Corrupt);
    EXPECT_THROW(parse_pack_header(header, pack_size(blobs) - 1), base::Corrupt);
    for (size_t size = 0; size < header.size(); ++size) {
      EXPECT_THROW(parse_pack_header(base::ByteView(header).first(size), pack_size(blobs)),
                   base::Corrupt);
    }
  }
  std::vector<PackBlob> mixed{{BlobType::data, crypto::sha256({}), 0, 40, 0},
                              {BlobType::tree, crypto::sha256(as_bytes("t")), 40, 50, 7}};
  EXPECT_EQ(encode_pack_header(mixed).size(), 37u + 41u);
  EXPECT_EQ(pack_size(mixed), 90u + 37 + 41 + 36);
  EXPECT_EQ(parse_pack_header(encode_pack_header(mixed), pack_size(mixed)), mixed);
}

TEST(PackHeader, RefusesImpossibleEntries) {
  const std::vector<PackBlob> one{{BlobType::data, crypto::sha256({}), 0, 40, 9}};
  const base::Bytes good = encode_pack_header(one);
  const auto changed = [&](size_t at, uint32_t value) {
    base::Bytes header = good;
    if (at == 0)
      header[0] = static_cast<uint8_t>(value);
    else
      base::store_le32(header.data() + at, value);
    return header;
  };
  EXPECT_THROW(parse_pack_header(changed(0, 4), pack_size(one)), base::Corrupt);
  EXPECT_THROW(parse_pack_header(changed(0, 255), pack_size(one)), base::Corrupt);
  EXPECT_THROW(parse_pack_header(changed(1, 31), pack_size(one) - 9), base::Corrupt);
  EXPECT_THROW(parse_pack_header(changed(1, 0xffffffff), pack_size(one)), base::Corrupt);
  EXPECT_THROW(parse_pack_header(changed(5, 0), pack_size(one)), base::Corrupt);
  EXPECT_THROW(parse_pack_header({}, 36), base::Corrupt);
}

TEST(PackHeader, ItsLengthIsBounded) {
  const auto length = [](uint32_t value, uint64_t size) {
    base::Bytes last(4);
    base::store_le32(last.data(), value);
    return parse_header_length(last, size);
  };
  EXPECT_EQ(length(69, 73), 69u);
  EXPECT_EQ(length(kMaxPackHeader, 32 << 20), kMaxPackHeader);
  EXPECT_THROW(length(70, 73), base::Corrupt);
  EXPECT_THROW(length(68, 1000), base::Corrupt);
  EXPECT_THROW(length(0, 1000), base::Corrupt);
  EXPECT_THROW(length(kMaxPackHeader + 1, 64 << 20), base::Corrupt);
  EXPECT_THROW(length(0xffffffff, 64 << 20), base::Corrupt);
  EXPECT_THROW(length(69, 72), base::Corrupt);
  EXPECT_THROW(parse_header_length(base::Bytes(3), 1000), base::Corrupt);
}

// Everything at once: each file of the repository that restic wrote, opened, decoded and checked to
// its IDs.
TEST(TinyRepository, IsReadToTheLastBlob) {
  test::TempDir directory;
  ASSERT_EQ(
      std::system(("tar -xzf " + test::data_path("repo-v2-tiny.tar.gz") + " -C " + directory.path()).c_str()),
      0);
  std::string root = directory.path();
  while (::access((root + "/config").c_str(), F_OK) != 0)
    root += "/" + base::list_directory(root).at(0);
  const crypto::Key key =
      parse_master_key(as_bytes(tiny_repository()["master_json"].get<std::string>()));
  EXPECT_NO_THROW(parse_config(crypto::open(key, base::get_file(root + "/config"))));
  const auto open_file = [&](const std::string& kind, const std::string& name) {
    const base::Bytes file = base::get_file(root + "/" + kind + "/" + name);
    EXPECT_EQ(crypto::sha256(file).hex(), name);
    return decode_unpacked(crypto::open(key, file), kMaxUnpackedIndex);
  };
  size_t blobs_read = 0;
  for (const std::string& name : base::list_directory(root + "/snapshots")) {
    EXPECT_EQ(text_of(open_file("snapshots", name)),
              tiny_repository()["snapshots"][name].get<std::string>());
  }
  for (const std::string& name : base::list_directory(root + "/locks"))
    EXPECT_NO_THROW(parse_lock(open_file("locks", name)));
  Packs headers;
  for (const std::string& name : base::list_directory(root + "/index")) {
    for (const auto& [pack, indexed] : read_index(open_file("index", name))) {
      const base::Bytes file =
          base::get_file(root + "/data/" + pack.hex().substr(0, 2) + "/" + pack.hex());
      EXPECT_EQ(crypto::sha256(file), pack);
      const uint32_t length = parse_header_length(file, file.size());
      const base::ByteView sealed = base::ByteView(file).subspan(file.size() - 4 - length, length);
      const auto blobs = parse_pack_header(crypto::open(key, sealed), file.size());
      headers[pack] = blobs;
      for (const PackBlob& blob : blobs) {
        base::Bytes plain =
            crypto::open(key, base::ByteView(file).subspan(blob.offset_bytes, blob.length_bytes));
        if (blob.is_compressed()) plain = decompress(plain, blob.plain_length_bytes);
        EXPECT_EQ(crypto::sha256(plain), blob.id);
        if (blob.type == BlobType::tree) {
          EXPECT_NO_THROW(parse_tree(plain));
        }
        ++blobs_read;
      }
    }
  }
  EXPECT_EQ(headers, packs_of_vectors());
  EXPECT_GT(blobs_read, 15u);
}

}  // namespace
}  // namespace davit::repo
