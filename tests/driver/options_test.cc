#include "driver/options.h"

#include <gtest/gtest.h>

#include "base/errors.h"

namespace davit::driver {
namespace {

void check_schedule(const std::string& schedule, const std::string&) {
  if (schedule != "@hourly" && schedule != "off") throw base::UsageError("minute 99 is over 59");
}

std::string refusal_of(const volumes::OptionMap& options) {
  try {
    validate_options(options, "v", check_schedule);
  } catch (const base::UsageError& error) {
    return error.what();
  }
  return "";
}

TEST(Options, TakesWhatIsDocumented) {
  EXPECT_EQ(refusal_of({{"from", "pgdata@2026-11-21T18:00"},
                        {"schedule", "@hourly"},
                        {"keep-last", "3"},
                        {"keep-daily", "7"},
                        {"keep-yearly", "-1"},
                        {"keep-within", "1y5m7d2h"},
                        {"exclude", "*.tmp\n/cache\n# comment"},
                        {"final-backup", "false"},
                        {"images", "no"},
                        {"ping-url", "https://hc.example/abc"}}),
            "");
  for (const std::string& key : known_options())
    EXPECT_EQ(refusal_of({{key, ""}}), "") << key;  // as if not given
}

TEST(Options, RefusesTheUnknownAndNamesTheKnown) {
  const std::string said = refusal_of({{"shedule", "@hourly"}});
  EXPECT_NE(said.find("'shedule'"), std::string::npos) << said;
  for (const std::string& key : known_options())
    EXPECT_NE(said.find(key), std::string::npos) << key;
  EXPECT_NE(refusal_of({{"size", ""}}), "");
}

TEST(Options, RefusesBadValuesByName) {
  EXPECT_NE(refusal_of({{"schedule", "99 * * * *"}}).find("option schedule=99 * * * *: minute 99"),
            std::string::npos);
  EXPECT_NE(refusal_of({{"keep-daily", "seven"}}).find("keep-daily"), std::string::npos);
  EXPECT_NE(refusal_of({{"keep-within", "soon"}}).find("keep-within"), std::string::npos);
  EXPECT_NE(refusal_of({{"exclude", "a\n[z-"}}).find("exclude"), std::string::npos);
  EXPECT_NE(refusal_of({{"final-backup", "perhaps"}}).find("final-backup"), std::string::npos);
  EXPECT_NE(refusal_of({{"images", "some"}}).find("images"), std::string::npos);
  EXPECT_NE(refusal_of({{"from", std::string("a\0b", 3)}}), "");
  const std::string said = refusal_of({{"ping-url", "ftp://secret"}});
  EXPECT_NE(said, "");
  EXPECT_EQ(said.find("secret"), std::string::npos);  // a ping URL is a capability
}

TEST(Options, FinalBackupIsOnUnlessSwitchedOff) {
  EXPECT_TRUE(wants_final_backup({}));
  EXPECT_TRUE(wants_final_backup({{"final-backup", ""}}));
  EXPECT_TRUE(wants_final_backup({{"final-backup", "yes"}}));
  for (const char* word : {"false", "no", "off", "0"})
    EXPECT_FALSE(wants_final_backup({{"final-backup", word}}));
}

TEST(Options, ImagesAreWantedAsTheOptionOrElseTheSettingSays) {
  for (const bool by_default : {true, false}) {
    EXPECT_EQ(wants_images({}, by_default), by_default);
    EXPECT_EQ(wants_images({{"images", ""}}, by_default), by_default);
    EXPECT_TRUE(wants_images({{"images", "on"}}, by_default));
    EXPECT_FALSE(wants_images({{"images", "false"}}, by_default));
  }
  // It is about one create: the next one from the same snapshot decides for itself.
  EXPECT_EQ(merge_options({{"images", "false"}}, {}, "v", {}), volumes::OptionMap{});
}

TEST(Options, GivenOnesGoOverSavedOnes) {
  EXPECT_EQ(
      merge_options({{"from", "older"},
                     {"schedule", "@hourly"},
                     {"keep-daily", "7"},
                     {"of-a-newer-davit", "x"},
                     {"keep-last", "many"}},
                    {{"from", "v@latest"}, {"keep-daily", "3"}}, "v", check_schedule),
      (volumes::OptionMap{{"from", "v@latest"}, {"schedule", "@hourly"}, {"keep-daily", "3"}}));
}

}  // namespace
}  // namespace davit::driver
