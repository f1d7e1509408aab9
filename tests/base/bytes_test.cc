#include "base/bytes.h"

#include <gtest/gtest.h>

#include "base/errors.h"
#include "base/id.h"

namespace davit::base {
namespace {

TEST(Bytes, HexGoesThereAndBack) {
  EXPECT_EQ(hex(as_bytes("\x00\xff\x7f" + std::string())), "");
  EXPECT_EQ(hex(as_bytes(std::string_view("\x00\xff\x7f", 3))), "00ff7f");
  EXPECT_EQ(from_hex("00FF7f"), to_bytes(as_bytes(std::string_view("\x00\xff\x7f", 3))));
  EXPECT_THROW(from_hex("0"), UsageError);
  EXPECT_THROW(from_hex("0g"), UsageError);
}

TEST(Bytes, Base64MatchesTheRfcExamples) {
  const std::pair<const char*, const char*> cases[] = {{"", ""}, {"f", "Zg=="}, {"fo", "Zm8="},
      {"foo", "Zm9v"}, {"foob", "Zm9vYg=="}, {"fooba", "Zm9vYmE="}, {"foobar", "Zm9vYmFy"}};
  for (const auto& [plain, coded] : cases) {
    EXPECT_EQ(base64(as_bytes(plain)), coded);
    EXPECT_EQ(as_text(from_base64(coded)), plain);
  }
}

TEST(Bytes, Base64RefusesWhatItCannotHaveWritten) {
  for (const char* bad : {"Zg=", "Zg", "Z===", "====", "Zg==Zg==", "Zh==", "Zm9=", "Zm 9", "Zm9v\n"})
    EXPECT_THROW(from_base64(bad), Corrupt) << bad;
}

TEST(Bytes, UuidsAreOfVersionFourAndDiffer) {
  const std::string one = make_uuid();
  ASSERT_EQ(one.size(), 36u);
  EXPECT_EQ(one[14], '4');
  EXPECT_NE(one, make_uuid());
}

TEST(Id, ParsesOnlySixtyFourLowerCaseDigits) {
  const std::string digits(64, 'a');
  ASSERT_TRUE(Id::parse(digits));
  EXPECT_EQ(Id::parse(digits)->hex(), digits);
  EXPECT_FALSE(Id::parse(std::string(64, 'A')));
  EXPECT_FALSE(Id::parse(digits + "0"));
  EXPECT_FALSE(Id::parse(digits.substr(1)));
  EXPECT_FALSE(Id::parse(digits.substr(4) + ".tmp"));
}

}  // namespace
}  // namespace davit::base
