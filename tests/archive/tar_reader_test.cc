// What the reader takes and what it refuses.
#include "archive/tar_reader.h"

#include <gtest/gtest.h>

#include <fstream>

#include "base/errors.h"
#include "base/files.h"
#include "support/image_fixture.h"
#include "support/program.h"
#include "support/tar_maker.h"
#include "support/temp_dir.h"

namespace davit {
namespace {

using archive::TarMember;
using archive::TarReader;
using test::in_pieces;
using test::members_of;
using test::TarMaker;

// The words of the refusal, "" where nothing is refused.
std::string refusal(const std::string& stream, size_t piece = 1000) {
  try {
    TarReader reader(in_pieces(stream, piece));
    while (reader.next_member()) {
    }
  } catch (const base::Corrupt& error) {
    return error.what();
  }
  return "";
}

void expect_refused(const TarMaker& tar, const std::string& word) {
  const std::string said = refusal(tar.bytes());
  EXPECT_NE(said.find(word), std::string::npos) << "said: " << said << "; not: " << word;
}

TEST(TarReader, ReadsWhatTarWritesInAllItsFormats) {
  test::TempDir directory;
  const std::string tree = directory / "tree";
  const std::string deep = tree + "/" + std::string(90, 'd') + "/" + std::string(90, 'e');
  base::make_directories(deep);
  const auto write = [](const std::string& path, const std::string& bytes) {
    std::ofstream(path, std::ios::binary) << bytes;
  };
  write(tree + "/small", "few bytes");
  write(tree + "/empty", "");
  write(tree + "/block", std::string(512, 'b'));
  write(deep + "/" + std::string(120, 'f'), std::string(100'000, 'x'));
  ASSERT_EQ(::symlink(std::string(150, 't').c_str(), (tree + "/long-link").c_str()), 0);
  ASSERT_EQ(::symlink("../elsewhere", (tree + "/out").c_str()), 0);
  ASSERT_EQ(::link((tree + "/small").c_str(), (tree + "/zz-small").c_str()), 0);
  std::map<std::string, std::string> expected;
  for (const std::string format : {"gnu", "pax", "oldgnu", "posix"}) {
    const std::string file = directory / format;
    const auto made =
        test::run({"tar", "--format=" + format, "--sort=name", "-cf", file, "-C", tree, "."});
    ASSERT_EQ(made.exit_code, 0) << made.errors;
    const std::string stream(base::as_text(base::get_file(file)));
    std::map<std::string, std::string> found;
    for (auto& [name, value] : members_of(stream))
      found[name.substr(std::min<size_t>(2, name.size()))] = value;
    EXPECT_EQ(found["small"], "few bytes");
    EXPECT_EQ(found["empty"], "");
    EXPECT_EQ(found["block"], std::string(512, 'b'));
    EXPECT_EQ(found["long-link"], "-> " + std::string(150, 't'));
    EXPECT_EQ(found["out"], "-> ../elsewhere");
    EXPECT_EQ(found["zz-small"], "= ./small");
    EXPECT_EQ(found[deep.substr(tree.size() + 1) + "/" + std::string(120, 'f')],
              std::string(100'000, 'x'));
    EXPECT_EQ(found.size(), 10u) << format;
    if (expected.empty()) expected = found;
    EXPECT_EQ(found, expected) << format;
  }
}

TEST(TarReader, TheSizesOfPiecesMakeNoDifference) {
  TarMaker tar;
  tar.gnu_long('L', std::string(300, 'n'))
      .file("short", "content")
      .pax({{"path", "other"}})
      .file("x", std::string(2000, 'y'))
      .end();
  const auto whole = members_of(tar.bytes());
  ASSERT_EQ(whole.size(), 2u);
  for (const size_t piece : {1, 7, 511, 512, 513, 1024}) {
    std::map<std::string, std::string> found;
    TarReader reader(in_pieces(tar.bytes(), piece));
    while (const auto member = reader.next_member())
      for (base::ByteView part; !(part = reader.read()).empty();)
        found[member->name] += base::as_text(part);
    EXPECT_EQ(found, whole) << piece;
  }
}

TEST(TarReader, ContentThatNobodyReadsIsSkipped) {
  TarMaker tar;
  tar.file("a", std::string(5000, 'a')).file("b", "content of b").end();
  TarReader reader(in_pieces(tar.bytes(), 700));
  ASSERT_EQ(reader.next_member()->name, "a");
  reader.read();  // some of it
  ASSERT_EQ(reader.next_member()->name, "b");
  EXPECT_EQ(base::as_text(reader.read()), "content of b");
  EXPECT_FALSE(reader.next_member());
}

// A stream of 9 GiB, of which no more than a page is ever in memory.
class HugeStream {
 public:
  explicit HugeStream(const TarMaker& before, uint64_t size)
      : before_(before.bytes()), left_(size) {}
  base::Bytes next() {
    if (!before_.empty()) return base::to_bytes(base::as_bytes(std::exchange(before_, "")));
    const uint64_t count = std::min<uint64_t>(left_, 1 << 20);
    left_ -= count;
    if (count > 0) return base::Bytes(count);  // whatever lies there
    return base::to_bytes(base::as_bytes(std::exchange(end_, "")));
  }

 private:
  std::string before_;
  uint64_t left_;
  std::string end_ = std::string(1024, '\0');
};

TEST(TarReader, SizesOverEightGibibytesInBothForms) {
  const uint64_t size = (uint64_t{9} << 30);
  std::string block = TarMaker().header("base256", '0', 0).bytes();
  test::set_size_base256(block, size);
  for (const TarMaker& tar :
       {TarMaker().raw(block),
        TarMaker().pax({{"size", std::to_string(size)}}).header("pax", '0', 0)}) {
    HugeStream stream(tar, size);
    TarReader reader([&] { return stream.next(); });
    const auto member = reader.next_member();
    ASSERT_TRUE(member);
    EXPECT_EQ(member->size_bytes, size);
    uint64_t read = 0;
    for (base::ByteView part; !(part = reader.read()).empty();) read += part.size();
    EXPECT_EQ(read, size);
    EXPECT_FALSE(reader.next_member());
  }
}

TEST(TarReader, EveryCutIsFoundOut) {
  TarMaker tar;
  tar.directory("d/")
      .file("d/a", std::string(700, 'a'))
      .pax({{"path", "long"}})
      .file("b", "b")
      .symlink("s", "t")
      .end();
  ASSERT_EQ(refusal(tar.bytes()), "");
  for (size_t length = 0; length < tar.bytes().size(); ++length)
    EXPECT_NE(refusal(tar.bytes().substr(0, length)).find("ends in the middle"), std::string::npos)
        << length;
}

TEST(TarReader, EveryFlippedBitOfAHeaderIsFoundOut) {
  const std::string good = TarMaker().file("name", "").end().bytes();
  for (size_t bit = 0; bit < 512 * 8; ++bit) {
    if (bit / 8 >= 148 && bit / 8 < 156) continue;  // blanks and NULs around the sum mean nothing
    std::string bad = good;
    bad[bit / 8] = static_cast<char>(bad[bit / 8] ^ (1 << bit % 8));
    EXPECT_NE(refusal(bad), "") << bit;
  }
}

TEST(TarReader, RefusesWhatIsNoFileDirectoryOrLink) {
  for (const char type : {'3', '4', '6', '7', 'S', 'V', 'M', 'D', 'Z'})
    expect_refused(TarMaker().header("odd", type, 0).end(), "is no file, directory or link");
  expect_refused(TarMaker().pax({{"GNU.sparse.major", "1"}}).file("a", "a").end(), "sparse");
}

TEST(TarReader, RefusesNamesThatAreNone) {
  expect_refused(TarMaker().header("", '0', 0).end(), "empty name");
  expect_refused(TarMaker().pax({{"path", ""}}).file("a", "").end(), "empty name");
  expect_refused(TarMaker().pax({{"path", std::string("a\0b", 3)}}).file("a", "").end(), "NUL");
  expect_refused(TarMaker().gnu_long('L', std::string("a\0b", 3)).file("a", "").end(), "NUL");
  expect_refused(TarMaker().pax({{"linkpath", std::string("a\0b", 3)}}).symlink("a", "x").end(),
                 "NUL");
  expect_refused(TarMaker().symlink("a", "").end(), "empty link target");
  expect_refused(TarMaker().gnu_long('L', std::string(5000, 'a')).file("a", "").end(),
                 "5000 bytes");
  expect_refused(TarMaker().pax({{"path", "one"}}, 'g').file("a", "").end(),
                 "all members one path");
}

TEST(TarReader, RefusesSizesThatAreNone) {
  std::string block = TarMaker().header("a", '0', 0).bytes();
  block.replace(124, 11, "0000000009x");
  test::set_checksum(block);
  expect_refused(TarMaker().raw(block).end(), "no number");
  test::set_size_base256(block, ~uint64_t{0});
  expect_refused(TarMaker().raw(block).end(), "larger than anything");
  block[124] = static_cast<char>(0xff);  // negative
  test::set_checksum(block);
  expect_refused(TarMaker().raw(block).end(), "no number");
  expect_refused(TarMaker().pax({{"size", "-1"}}).file("a", "").end(), "no number");
  expect_refused(TarMaker().pax({{"size", "99999999999999999999999"}}).file("a", "").end(),
                 "no number");
  expect_refused(TarMaker().header("d/", '5', 10).content(std::string(10, 'x')).end(),
                 "has content");
  expect_refused(TarMaker().header("big", 'x', 1 << 30).end(), "a header of");
  expect_refused(TarMaker().header("lies", '0', 5000).content("short").end(), "ends in the middle");
}

TEST(TarReader, RefusesPaxHeadersThatAreNone) {
  for (const std::string bad :
       {"5 a=b", "99 a=b\n", "0 a=b\n", "6 a b\n", "x", "4 a\n", "-6 a=b\n", "6 a=bc"})
    expect_refused(TarMaker().pax_raw(bad).file("a", "").end(), "pax");
}

TEST(TarReader, RefusesWhatFollowsTheEnd) {
  expect_refused(TarMaker().file("a", "").end().file("b", ""), "behind its end");
  expect_refused(TarMaker().file("a", "").raw(std::string(512, '\0')).file("b", ""), "end mark");
  expect_refused(TarMaker().gnu_long('L', "name").end(), "without its member");
  EXPECT_EQ(refusal(TarMaker().file("a", "").end().raw(std::string(10'240, '\0')).bytes()), "");
}

TEST(TarReader, WhatTheSourceThrowsIsThrownOn) {
  int calls = 0;
  TarReader reader([&]() -> base::Bytes {
    if (++calls == 2) throw base::IoError("the engine is gone", 0, true);
    return base::Bytes(100, 'x');
  });
  EXPECT_THROW(reader.next_member(), base::IoError);
}

}  // namespace
}  // namespace davit
