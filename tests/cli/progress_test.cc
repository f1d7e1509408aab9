#include "cli/progress.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace davit::cli {
namespace {

using std::chrono::milliseconds;
using testing::ElementsAre;

class ProgressTest : public testing::Test {
 protected:
  void update(const char* status) { lines_.update(Json::parse(status), now_); }
  ProgressLines lines_;
  ProgressLines::Instant now_{};
};

TEST_F(ProgressTest, ShowsBarPercentRateAndTimeLeft) {
  update(R"({"volume":"db","phase":"saving","bytes_done":0,"total_bytes":104857600})");
  now_ += milliseconds(1000);
  update(
      R"({"volume":"db","phase":"saving","bytes_done":52428800,"total_bytes":104857600,"percent_done":0.5})");
  EXPECT_THAT(lines_.render(100, 8), ElementsAre("db  saving  [#################-----------------] "
                                                 "  50%  50.0 MiB of 100.0 MiB  50.0 MiB/s  "
                                                 "0:01 left"));
}

TEST_F(ProgressTest, DropsTheBarOnANarrowTerminalAndNeverWraps) {
  update(R"({"volume":"db","phase":"saving","bytes_done":52428800,"total_bytes":104857600})");
  EXPECT_THAT(lines_.render(45, 8), ElementsAre("db  saving   50%  50.0 MiB of 100.0 MiB"));
  for (size_t columns = 1; columns < 120; ++columns)
    EXPECT_LE(display_width(lines_.render(columns, 8).at(0)), columns);
}

TEST_F(ProgressTest, ShowsWhatIsDoneWhereNoTotalIsKnown) {
  update(R"({"volume":"db","phase":"saving","bytes_done":1048576,"files_done":3,"error_count":1})");
  EXPECT_THAT(lines_.render(100, 8), ElementsAre("db  saving  1.0 MiB  3 files  1 error"));
}

TEST_F(ProgressTest, BelievesTheDaemonsEstimate) {
  update(
      R"({"volume":"db","phase":"restoring","bytes_done":1,"total_bytes":4,"seconds_remaining":3661})");
  EXPECT_THAT(lines_.render(60, 8), ElementsAre(testing::HasSubstr("1:01:01 left")));
}

TEST_F(ProgressTest, HasALineForEachVolumeUpToALimit) {
  for (const char* volume : {"a", "bb", "c", "d"})
    update((std::string(R"({"phase":"waiting","volume":")") + volume + "\"}").c_str());
  EXPECT_THAT(lines_.render(100, 8),
              ElementsAre("a   waiting", "bb  waiting", "c   waiting", "d   waiting"));
  EXPECT_THAT(lines_.render(100, 3), ElementsAre("a   waiting", "bb  waiting", "and 2 more"));
}

TEST_F(ProgressTest, TakesNonsenseFromTheDaemon) {
  update(R"({"volume":"\u001b[2J","phase":5,"bytes_done":-3,"total_bytes":1e300,"percent_done":1e9,
             "seconds_remaining":1e300})");
  const auto lines = lines_.render(80, 8);
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_EQ(lines[0].find('\x1b'), std::string::npos);
  EXPECT_NE(lines[0].find("100%"), std::string::npos);
}

TEST_F(ProgressTest, BeginsItsRateAnewWithEachPhase) {
  update(R"({"volume":"db","phase":"saving","bytes_done":1000})");
  now_ += milliseconds(1000);
  update(R"({"volume":"db","phase":"saving","bytes_done":5000})");
  update(R"({"volume":"db","phase":"checking","bytes_done":10})");
  EXPECT_THAT(lines_.render(100, 8), ElementsAre("db  checking  10 B"));
}

}  // namespace
}  // namespace davit::cli
