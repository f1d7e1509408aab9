#include "base/mapped_file.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include "base/checksum.h"
#include "base/errors.h"
#include "base/files.h"
#include "support/temp_dir.h"

namespace davit::base {
namespace {

TEST(Checksum, MatchesPublishedValues) {
  EXPECT_EQ(xxh64(as_bytes("")), 0xef46db3751d8e999);
  EXPECT_EQ(xxh64(as_bytes("a")), 0xd24ec4f1a98c6e5b);
  EXPECT_EQ(xxh64(as_bytes("abc")), 0x44bc2cf5ad770999);
  EXPECT_EQ(xxh64(as_bytes("Nobody inspects the spammish repetition")), 0xfbcea83c8a378bf1);
}

TEST(Checksum, SeesEveryFlippedBit) {
  Bytes bytes(1000);
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<uint8_t>(i * 7);
  const uint64_t whole = xxh64(bytes);
  for (size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    bytes[bit / 8] ^= static_cast<uint8_t>(1 << bit % 8);
    EXPECT_NE(xxh64(bytes), whole) << bit;
    bytes[bit / 8] ^= static_cast<uint8_t>(1 << bit % 8);
  }
}

TEST(MappedFile, ShowsTheFileAfterItsNameAndDescriptorAreGone) {
  test::TempDir directory;
  for (const bool in_memory : {false, true}) {
    MappedFile mapped;
    {
      const Fd file = in_memory ? make_memory_file() : make_unnamed_file(directory.path());
      write_all(file.get(), as_bytes("what was written"));
      mapped = MappedFile(file.get(), 16);
    }
    EXPECT_EQ(as_text(mapped.bytes()), "what was written");
    EXPECT_TRUE(list_directory(directory.path()).empty());
  }
  EXPECT_TRUE(MappedFile(-1, 0).bytes().empty());
  EXPECT_THROW(make_unnamed_file(directory / "missing"), IoError);
}

}  // namespace
}  // namespace davit::base
