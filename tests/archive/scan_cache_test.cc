// What an earlier run left spares work, and never lies.
#include "repo/scan_cache.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "support/temp_dir.h"

namespace davit::repo {
namespace {

base::Id id_of(uint8_t value) {
  base::Id id;
  id.bytes.fill(value);
  return id;
}

ScanRecord record(const std::string& name, size_t blobs = 1) {
  ScanRecord record;
  record.name = name;
  record.inode = name.size();
  record.size_bytes = 123456789012;
  record.mtime = {-5, 999999999};
  record.ctime = {1700000000, 1};
  record.xattrs = {{"user.a", base::to_bytes(base::as_bytes(name))}, {"user.empty", {}}};
  for (size_t i = 0; i < blobs; ++i) record.content.push_back(id_of(static_cast<uint8_t>(i)));
  return record;
}

class ScanCache : public ::testing::Test {
 protected:
  // /b /c/{d,e/{f},g} /h, each directory's tree named by a byte.
  void write(size_t blobs = 1) {
    ScanCacheWriter writer(path_, id_of(1));
    base::Bytes bytes;
    append_enter(bytes, "");
    append_record(bytes, record("b", blobs));
    append_enter(bytes, "c");
    append_record(bytes, record("d", blobs));
    append_enter(bytes, "e");
    append_record(bytes, record("f", blobs));
    append_leave(bytes, id_of(0xe));
    append_record(bytes, record("g", blobs));
    append_leave(bytes, id_of(0xc));
    append_record(bytes, record("h", blobs));
    append_leave(bytes, id_of(0xa));
    writer.write(bytes);
    writer.finish(id_of(2));
  }

  test::TempDir directory_;
  const std::string path_ = directory_ / "cache";
};

TEST_F(ScanCache, GivesBackWhatWasWritten) {
  write();
  const auto reader = ScanCacheReader::open(path_, id_of(1));
  ASSERT_TRUE(reader);
  EXPECT_EQ(reader->root_tree(), id_of(2));
  ASSERT_TRUE(reader->enter(""));
  const auto found = reader->find("b");
  ASSERT_TRUE(found);
  const ScanRecord expected = record("b");
  EXPECT_EQ(found->inode, expected.inode);
  EXPECT_EQ(found->size_bytes, expected.size_bytes);
  EXPECT_EQ(found->mtime, expected.mtime);
  EXPECT_EQ(found->ctime, expected.ctime);
  EXPECT_EQ(found->xattrs, expected.xattrs);
  EXPECT_EQ(found->content, expected.content);
  EXPECT_TRUE(found->trusted);
}

TEST_F(ScanCache, IsReadInStepWithATreeThatChanged) {
  write();
  const auto reader = ScanCacheReader::open(path_, id_of(1));
  ASSERT_TRUE(reader->enter(""));
  EXPECT_FALSE(reader->find("a"));    // new, before all
  EXPECT_FALSE(reader->enter("bb"));  // new; "b" is gone
  ASSERT_TRUE(reader->enter("c"));
  EXPECT_FALSE(reader->enter("dd"));
  EXPECT_TRUE(reader->find("g"));  // "e" is skipped whole
  EXPECT_FALSE(reader->find("z"));
  EXPECT_EQ(reader->leave(), id_of(0xc));
  EXPECT_TRUE(reader->find("h"));
  EXPECT_EQ(reader->leave(), id_of(0xa));
  EXPECT_TRUE(reader->intact());
}

TEST_F(ScanCache, AFileThatBecameADirectoryIsNeither) {
  write();
  const auto reader = ScanCacheReader::open(path_, id_of(1));
  ASSERT_TRUE(reader->enter(""));
  EXPECT_FALSE(reader->enter("b"));
  EXPECT_FALSE(reader->find("c"));
  EXPECT_TRUE(reader->find("h"));
}

TEST_F(ScanCache, LeavingEarlySkipsTheRest) {
  write();
  const auto reader = ScanCacheReader::open(path_, id_of(1));
  ASSERT_TRUE(reader->enter(""));
  ASSERT_TRUE(reader->enter("c"));
  EXPECT_EQ(reader->leave(), id_of(0xc));
  EXPECT_TRUE(reader->find("h"));
}

TEST_F(ScanCache, OneOfAnotherRepositoryIsIgnored) {
  write();
  EXPECT_FALSE(ScanCacheReader::open(path_, id_of(9)));
}

TEST_F(ScanCache, OneThatWasNotFinishedIsIgnored) {
  {
    ScanCacheWriter writer(path_, id_of(1));
    base::Bytes bytes;
    append_enter(bytes, "");
    writer.write(bytes);
  }
  EXPECT_FALSE(ScanCacheReader::open(path_, id_of(1)));
  EXPECT_FALSE(ScanCacheReader::open(directory_ / "none", id_of(1)));
}

// Every byte of it in turn: what is read afterwards is either right or not there.
TEST_F(ScanCache, NoDamagedByteIsBelieved) {
  write(3);
  const base::Bytes good = base::get_file(path_);
  for (size_t at = 0; at < good.size(); ++at) {
    base::Bytes bad = good;
    bad[at] ^= 0x40;
    base::write_file_atomic(path_, bad);
    const auto reader = ScanCacheReader::open(path_, id_of(1));
    if (!reader) continue;
    if (!reader->enter("")) continue;
    if (const auto found = reader->find("b")) {
      EXPECT_EQ(found->content, record("b", 3).content) << at;
      EXPECT_EQ(found->xattrs, record("b", 3).xattrs) << at;
      EXPECT_EQ(found->mtime, record("b", 3).mtime) << at;
    }
  }
}

TEST_F(ScanCache, ATruncatedOneIsIgnored) {
  write();
  const base::Bytes good = base::get_file(path_);
  for (size_t size = 0; size < good.size(); size += 7) {
    base::write_file_atomic(path_, base::ByteView(good).first(size));
    EXPECT_FALSE(ScanCacheReader::open(path_, id_of(1))) << size;
  }
}

TEST_F(ScanCache, DamageInTheMiddleEndsItThere) {
  {
    ScanCacheWriter writer(path_, id_of(1));
    base::Bytes bytes;
    append_enter(bytes, "");
    writer.write(bytes);
    for (int i = 0; i < 2000; ++i) {  // several blocks
      bytes.clear();
      append_record(bytes, record("f" + std::to_string(10000 + i), 20));
      writer.write(bytes);
    }
    writer.finish(id_of(2));
  }
  base::Bytes bytes = base::get_file(path_);
  bytes[bytes.size() / 2] ^= 1;
  base::write_file_atomic(path_, bytes);
  const auto reader = ScanCacheReader::open(path_, id_of(1));
  ASSERT_TRUE(reader);
  ASSERT_TRUE(reader->enter(""));
  int found = 0;
  for (int i = 0; i < 2000; ++i) found += reader->find("f" + std::to_string(10000 + i)).has_value();
  EXPECT_GT(found, 100);
  EXPECT_LT(found, 1500);
  EXPECT_FALSE(reader->intact());
  EXPECT_EQ(reader->leave(), base::Id{});
}

}  // namespace
}  // namespace davit::repo
