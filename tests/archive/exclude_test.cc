#include "archive/exclude.h"

#include <gtest/gtest.h>

#include "base/errors.h"

namespace davit::archive {
namespace {

bool matches(std::string_view lines, std::string_view path) {
  return Excludes::parse(lines).matches(path);
}

TEST(Excludes, NameMatchesAtAnyDepthAndAllBeneathIt) {
  EXPECT_TRUE(matches("cache", "cache"));
  EXPECT_TRUE(matches("cache", "a/b/cache"));
  EXPECT_TRUE(matches("cache", "a/cache/b"));
  EXPECT_FALSE(matches("cache", "a/caches"));
  EXPECT_TRUE(matches("a/b", "x/a/b/y"));
  EXPECT_FALSE(matches("a/b", "a/x/b"));
  EXPECT_TRUE(matches("cache/", "x/cache"));
}

TEST(Excludes, LeadingSlashAnchorsAtTheRoot) {
  EXPECT_TRUE(matches("/cache", "cache"));
  EXPECT_TRUE(matches("/cache", "cache/deep/er"));
  EXPECT_FALSE(matches("/cache", "a/cache"));
  EXPECT_TRUE(matches("/a/*.log", "a/x.log"));
  EXPECT_FALSE(matches("/a/*.log", "a/b/x.log"));
}

TEST(Excludes, WildcardsStayWithinAComponent) {
  EXPECT_TRUE(matches("*.log", "a/x.log"));
  EXPECT_FALSE(matches("/*.log", "a/x.log"));
  EXPECT_TRUE(matches("x?z", "xyz"));
  EXPECT_TRUE(matches("x?z", "x\xc3\xa9z"));  // one character, two bytes
  EXPECT_TRUE(matches("x?z", "x\xffz"));
  EXPECT_FALSE(matches("x?z", "xz"));
  EXPECT_TRUE(matches("[a-c]1", "b1"));
  EXPECT_FALSE(matches("[^a-c]1", "b1"));
  EXPECT_TRUE(matches("[^a-c]1", "d1"));
  EXPECT_TRUE(matches("\\*", "*"));
  EXPECT_FALSE(matches("\\*", "x"));
  EXPECT_TRUE(matches("a*b*c", "aXbYbZc"));
  EXPECT_FALSE(matches("a*b*c", "aXbYbZ"));
}

TEST(Excludes, TwoStarsCrossComponents) {
  EXPECT_TRUE(matches("/a/**/b", "a/b"));
  EXPECT_TRUE(matches("/a/**/b", "a/x/y/b"));
  EXPECT_FALSE(matches("/a/**/b", "c/a/x/b"));
  EXPECT_TRUE(matches("a/**/*.o", "src/a/b/c.o"));
  EXPECT_TRUE(matches("**/b", "b"));
  EXPECT_TRUE(matches("/x/**", "x/y"));
}

TEST(Excludes, ALaterLineTakesBack) {
  const char* lines = "*.txt\n!keep.txt\n";
  EXPECT_TRUE(matches(lines, "a/b.txt"));
  EXPECT_FALSE(matches(lines, "a/keep.txt"));
  EXPECT_TRUE(matches("!keep.txt\n*.txt", "keep.txt"));
}

TEST(Excludes, EmptyLinesAndCommentsSayNothing) {
  const Excludes excludes = Excludes::parse("\n# a comment\n  \r\n  spaced.txt  \n");
  EXPECT_EQ(excludes.lines(), std::vector<std::string>{"spaced.txt"});
  EXPECT_TRUE(excludes.matches("spaced.txt"));
  EXPECT_FALSE(excludes.matches("# a comment"));
  EXPECT_TRUE(Excludes::parse("").empty());
}

TEST(Excludes, ABadPatternIsRefusedWithItsLine) {
  for (const char* bad :
       {"ok\n[a-", "ok\n[]", "ok\na\\", "ok\n/", "ok\n!", "ok\n../x", "ok\n[b-]"}) {
    try {
      Excludes::parse(bad);
      ADD_FAILURE() << bad;
    } catch (const base::UsageError& error) {
      EXPECT_NE(std::string(error.what()).find("line 2"), std::string::npos) << error.what();
    }
  }
}

}  // namespace
}  // namespace davit::archive
