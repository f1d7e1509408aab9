// Parts of a scan cache are found, and taken into another, as if they had been written there.
#include "repo/scan_outline.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <string>

#include "base/files.h"
#include "repo/scan_cache.h"
#include "support/temp_dir.h"

namespace davit::repo {
namespace {

base::Id id_of(uint64_t value) {
  base::Id id;
  base::store_le64(id.bytes.data(), value + 1);
  return id;
}

class Outline : public ::testing::Test {
 protected:
  static constexpr int kDirectories = 40, kFiles = 300;

  static base::Bytes file(const std::string& name, uint64_t handle) {
    ScanRecord record;
    record.name = name;
    record.size_bytes = 10;
    record.handle = handle;
    record.content = {id_of(handle)};
    base::Bytes bytes;
    append_record(bytes, record);
    return bytes;
  }
  static base::Bytes enter(const std::string& name, uint64_t handle) {
    base::Bytes bytes;
    ScanStamp stamp;
    stamp.trusted = true;
    stamp.handle = handle;
    append_enter(bytes, name, stamp);
    return bytes;
  }
  static base::Bytes leave(uint64_t tree) {
    base::Bytes bytes;
    append_leave(bytes, id_of(tree));
    return bytes;
  }
  static uint64_t handle(int directory, int file) { return 1000u * directory + file + 1; }
  static std::string name(int number) { return std::to_string(1000 + number); }

  static void write_directory(ScanCacheWriter& writer, int directory) {
    writer.write(enter(name(directory), handle(directory, 900)));
    writer.write(enter("a", handle(directory, 901)));
    for (int i = 0; i < kFiles; ++i) writer.write(file(name(i), handle(directory, i)));
    writer.write(leave(handle(directory, 901)));
    writer.write(file("b", handle(directory, 902)));
    writer.write(leave(handle(directory, 900)));
  }
  std::string write() {
    const std::string path = directory_ / "cache";
    ScanCacheWriter writer(path, id_of(0), {}, true);
    writer.write(enter("", 999'999));
    for (int i = 0; i < kDirectories; ++i) write_directory(writer, i);
    writer.write(leave(7));
    writer.finish(id_of(7));
    return path;
  }
  // All records, as text.
  static std::vector<std::string> records_of(const std::string& path) {
    const auto reader = ScanCacheReader::open(path, id_of(0));
    std::vector<std::string> records;
    while (reader && reader->peek() != ScanView::Kind::end) {
      records.emplace_back(base::as_text(reader->view().bytes));
      reader->skip();
    }
    EXPECT_TRUE(reader && reader->intact());
    return records;
  }

  test::TempDir directory_;
};

TEST_F(Outline, TellsWhereEachDirectoryLies) {
  const auto reader = ScanCacheReader::open(write(), id_of(0));
  const auto kept = reader->open_kept();
  ASSERT_TRUE(kept);
  const auto& directories = kept->outline.directories;
  ASSERT_EQ(directories.size(), 1u + 2 * kDirectories);
  EXPECT_EQ(directories[0].files, uint64_t{kDirectories} * (kFiles + 1));
  EXPECT_EQ(directories[0].bytes, uint64_t{kDirectories} * (kFiles + 1) * 10);
  EXPECT_EQ(directories[0].next, directories.size());
  EXPECT_EQ(directories[0].handle, 999'999u);
  EXPECT_EQ(directories[3].tree, id_of(handle(1, 900)));
  EXPECT_EQ(directories[3].next, 5u);
  EXPECT_EQ(directories[3].own_end - directories[3].own_begin, 1u);
  EXPECT_EQ(kept->outline.handles[directories[3].own_begin], handle(1, 902));
  EXPECT_EQ(directories[4].own_end - directories[4].own_begin, uint64_t{kFiles});
  EXPECT_FALSE(directories[4].is_doubtful);
}

TEST_F(Outline, AReaderGoesBehindADirectory) {
  for (const size_t index : {1u, 3u, 2u * kDirectories - 1}) {
    const auto reader = ScanCacheReader::open(write(), id_of(0));
    const auto kept = reader->open_kept();
    ASSERT_EQ(reader->peek(), ScanView::Kind::enter);
    reader->skip();
    ASSERT_EQ(reader->peek(), ScanView::Kind::enter);
    EXPECT_EQ(reader->position(), kept->outline.directories[1].begin);
    reader->seek_behind(kept->outline, index);
    if (index + 2 < kept->outline.directories.size()) {
      ASSERT_EQ(reader->peek(), ScanView::Kind::enter);
      EXPECT_EQ(reader->position(), kept->outline.directories[index + 2].begin);
      EXPECT_EQ(reader->view().name, name(static_cast<int>(index + 1) / 2));
    } else {
      EXPECT_EQ(reader->peek(), ScanView::Kind::leave);
    }
  }
}

// Over several generations, with and without a directory between that is written anew.
TEST_F(Outline, ACopiedDirectoryIsAsIfItHadBeenWritten) {
  std::string from = write();
  const auto original = records_of(from);
  for (int generation = 0; generation < 4; ++generation) {
    const auto kept = ScanCacheReader::open(from, id_of(0))->open_kept();
    ASSERT_TRUE(kept);
    const std::string to = directory_ / ("cache" + std::to_string(generation));
    ScanCacheWriter writer(to, id_of(0), {}, true);
    writer.write(enter("", 999'999));
    for (int i = 0; i < kDirectories; ++i) {
      if (i % 7 == generation)
        write_directory(writer, i);
      else
        writer.copy(*kept, 1 + 2 * static_cast<size_t>(i));
    }
    writer.write(leave(7));
    writer.finish(id_of(7));
    EXPECT_EQ(records_of(to), original);
    const auto outline = ScanCacheReader::open(to, id_of(0))->open_kept();
    ASSERT_TRUE(outline);
    ASSERT_EQ(outline->outline.directories.size(), kept->outline.directories.size());
    EXPECT_TRUE(std::ranges::equal(outline->outline.handles, kept->outline.handles));
    for (size_t i = 0; i < outline->outline.directories.size(); ++i) {
      const auto &was = kept->outline.directories[i], &is = outline->outline.directories[i];
      EXPECT_EQ(is.begin, was.begin);
      EXPECT_EQ(is.end, was.end);
      EXPECT_EQ(is.own_begin, was.own_begin);
      EXPECT_EQ(is.own_end, was.own_end);
      EXPECT_EQ(is.handles_begin, was.handles_begin);
      EXPECT_EQ(is.next, was.next);
      EXPECT_EQ(is.files, was.files);
      EXPECT_EQ(is.tree, was.tree);
    }
    from = to;
  }
}

TEST_F(Outline, WhatMustBeLookedAtIsDoubtful) {
  const std::string path = directory_ / "doubtful";
  ScanCacheWriter writer(path, id_of(0), {}, true);
  base::Bytes open;
  append_open(open, "x");
  ScanRecord untrusted;
  untrusted.name = "u";
  untrusted.trusted = false;
  untrusted.handle = 5;
  base::Bytes untrusted_bytes;
  append_record(untrusted_bytes, untrusted);
  writer.write(enter("", 1));
  writer.write(enter("a", 2));
  writer.write(open);
  writer.write(leave(1));
  writer.write(enter("b", 3));
  writer.write(untrusted_bytes);
  writer.write(leave(2));
  writer.write(enter("c", 4));
  writer.write(file("f", 0));
  writer.write(leave(3));
  writer.write(enter("d", 0));
  writer.write(leave(4));
  writer.write(leave(5));
  writer.finish(id_of(5));
  const auto kept = ScanCacheReader::open(path, id_of(0))->open_kept();
  ASSERT_TRUE(kept);
  EXPECT_FALSE(kept->outline.directories[0].is_doubtful);
  for (size_t i = 1; i < 5; ++i) EXPECT_TRUE(kept->outline.directories[i].is_doubtful) << i;
}

TEST_F(Outline, ADamagedOneIsAsIfThereWereNone) {
  const std::string path = write();
  base::Bytes bytes = base::get_file(path);
  bytes[bytes.size() - 100] ^= 1;
  base::write_file_atomic(path, bytes);
  const auto reader = ScanCacheReader::open(path, id_of(0));
  ASSERT_TRUE(reader);
  EXPECT_FALSE(reader->open_kept());
  EXPECT_TRUE(reader->enter(""));
}

uint64_t anonymous_bytes() {
  const auto status = base::find_file("/proc/self/status");
  const std::string text(base::as_text(*status));
  return std::strtoull(text.c_str() + text.find("RssAnon:") + 8, nullptr, 10) << 10;
}

// 8 bytes an entry would be 32 MiB.
TEST_F(Outline, ALargeOneTakesNoMemory) {
  constexpr int kMany = 100'000, kCopies = 42;
  const std::string path = directory_ / "many", large = directory_ / "large";
  {
    ScanCacheWriter writer(path, id_of(0), {}, true);
    writer.write(enter("", 1));
    writer.write(enter("a", 2));
    for (int i = 0; i < kMany; ++i) writer.write(file(name(i), 3 + static_cast<uint64_t>(i)));
    writer.write(leave(1));
    writer.write(leave(2));
    writer.finish(id_of(2));
  }
  const auto kept = ScanCacheReader::open(path, id_of(0))->open_kept();
  ASSERT_TRUE(kept);
  const base::Fd out = base::open_file(large, O_RDWR | O_CREAT, 0600);
  ScanOutliner outliner(directory_.path());
  const uint64_t before = anonymous_bytes();
  uint64_t most = before;
  outliner.add(enter("", 1));
  for (int i = 0; i < kCopies; ++i) {
    outliner.add(kept->outline, 1);
    most = std::max(most, anonymous_bytes());
  }
  const base::Bytes end = leave(3);
  outliner.add(end);
  const auto& all = kept->outline.directories[1];
  outliner.begin_block(0, enter("", 1).size() + kCopies * (all.end - all.begin) + end.size());
  const uint64_t size = outliner.finish(out.get(), 0);
  most = std::max(most, anonymous_bytes());
  EXPECT_LT(most - before, uint64_t{8} << 20);  // a sanitizer's own included
  const base::MappedFile map(out.get(), size);
  const auto outline = ScanOutline::read(map.bytes());
  ASSERT_TRUE(outline);
  EXPECT_EQ(outline->handles.size(), size_t{kMany} * kCopies);
  EXPECT_EQ(outline->directories[0].files, uint64_t{kMany} * kCopies);
  EXPECT_EQ(outline->directories.back().own_end, outline->handles.size());
}

// Damage in what is copied block by block shows when it is read; in what is not, at once.
TEST_F(Outline, DamagedRecordsAreNotBelievedAfterACopy) {
  const std::string path = write();
  const auto kept = ScanCacheReader::open(path, id_of(0))->open_kept();
  ASSERT_TRUE(kept);
  base::Bytes bytes = base::get_file(path);
  for (const auto& block : kept->outline.blocks) {
    base::Bytes bad = bytes;
    bad[block.offset + 50] ^= 1;
    base::write_file_atomic(path, bad);
    const auto damaged = ScanCacheReader::open(path, id_of(0))->open_kept();
    const std::string to = directory_ / "copy";
    ScanCacheWriter writer(to, id_of(0), {}, true);
    writer.copy(*damaged, 0);
    writer.finish(id_of(7));
    const auto reader = ScanCacheReader::open(to, id_of(0));
    if (!reader) continue;
    while (reader->peek() != ScanView::Kind::end) reader->skip();
    EXPECT_FALSE(reader->intact());
  }
}

}  // namespace
}  // namespace davit::repo
