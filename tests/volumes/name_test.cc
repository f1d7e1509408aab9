#include "volumes/name.h"

#include <gtest/gtest.h>

#include "base/errors.h"

namespace davit::volumes {
namespace {

TEST(Name, TakesWhatPodmanTakes) {
  for (const char* good : {"a", "9", "pgdata", "shop_pgdata", "a.b-c_d", "A..b", "x-"})
    EXPECT_TRUE(is_valid_name(good)) << good;
  EXPECT_TRUE(is_valid_name(std::string(255, 'n')));
}

TEST(Name, RefusesWhatCouldEscapeOrCannotBeAFile) {
  using namespace std::string_view_literals;
  for (const std::string_view bad :
       {""sv, "."sv, ".."sv, "../proto-evil"sv, "proto/sub"sv, "a b"sv, ".hidden"sv, "-o"sv, "_x"sv,
        "a\"b"sv, "a'b"sv, "gr\xc3\xbc"sv, "a\nb"sv, "a\0b"sv, "a\\b"sv, "a:b"sv, "a@b"sv}) {
    EXPECT_FALSE(is_valid_name(bad)) << bad;
    EXPECT_THROW(validate_name(bad), base::UsageError) << bad;
  }
  EXPECT_THROW(validate_name(std::string(256, 'n')), base::UsageError);
}

TEST(Name, KnowsTheNamesThatEnginesInvent) {
  EXPECT_TRUE(is_anonymous(std::string(64, 'a')));
  EXPECT_FALSE(is_anonymous(std::string(64, 'g')));
  EXPECT_FALSE(is_anonymous(std::string(64, 'A')));
  EXPECT_FALSE(is_anonymous(std::string(63, 'a')));
}

TEST(Name, MessageNeverRepeatsControlCharacters) {
  try {
    validate_name("a\x1b[31m");
    FAIL();
  } catch (const base::UsageError& error) {
    EXPECT_EQ(std::string(error.what()).find('\x1b'), std::string::npos);
  }
}

}  // namespace
}  // namespace davit::volumes
