#include "jobs/settings.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/errors.h"
#include "base/files.h"
#include "support/temp_dir.h"

namespace davit::jobs {
namespace {

using base::UsageError;
using ::testing::HasSubstr;

class SettingsTest : public ::testing::Test {
 protected:
  Settings make(std::map<std::string, std::string> environment = {}) {
    return Settings(path_, std::move(environment), [](const std::string& schedule) {
      if (schedule == "bad") throw UsageError("no schedule");
    });
  }
  void write(const std::string& text) { base::write_file_atomic(path_, base::as_bytes(text)); }
  std::string read() { return std::string(base::as_text(base::get_file(path_))); }

  test::TempDir dir_;
  const std::string path_ = dir_ / "davit.conf";
};

TEST_F(SettingsTest, FileOverridesDefaultAndEnvironmentOverridesFile) {
  write("# a comment\nDAVIT_JOBS=5\nTZ = \"UTC\"\n");
  Settings settings = make({{"DAVIT_SCHEDULE", "@hourly"}, {"DAVIT_JOBS", ""}, {"PATH", "/bin"}});
  EXPECT_EQ(settings.number("DAVIT_JOBS"), 5);
  EXPECT_EQ(settings.get("TZ"), "UTC");
  EXPECT_EQ(settings.get("DAVIT_SCHEDULE"), "@hourly");
  EXPECT_EQ(settings.origin("DAVIT_SCHEDULE"), "environment");
  EXPECT_EQ(settings.origin("DAVIT_JOBS"), "file");
  EXPECT_EQ(settings.origin("DAVIT_JITTER"), "default");
}

TEST_F(SettingsTest, SetKeepsTheRestOfTheFile) {
  write("# mine\nDAVIT_JOBS=5\n# end\n");
  Settings settings = make();
  settings.set("DAVIT_JOBS", "3");
  settings.set("TZ", "UTC");
  EXPECT_EQ(read(), "# mine\nDAVIT_JOBS=3\n# end\nTZ=UTC\n");
  settings.set("DAVIT_JOBS", std::nullopt);
  EXPECT_EQ(read(), "# mine\n# end\nTZ=UTC\n");
  EXPECT_EQ(settings.number("DAVIT_JOBS"), 2);
}

TEST_F(SettingsTest, BadValuesAreRefusedAndChangeNothing) {
  Settings settings = make({{"DAVIT_KEEP_DAILY", "3"}});
  const std::pair<const char*, const char*> bad[] = {
      {"DAVIT_LIMIT_UPLOAD", "-1"}, {"DAVIT_LIMIT_DOWNLOAD", "1.5"}, {"DAVIT_PRIORITY", "high"},
      {"DAVIT_JOBS", "0"},         {"DAVIT_JOBS", "two"},          {"DAVIT_SCHEDULE", "bad"},
      {"TZ", "Mars/Olympus"},      {"DAVIT_JITTER", "5 minutes"},  {"RESTIC_COMPRESSION", "best"},
      {"RESTIC_PACK_SIZE", "1000"}, {"DAVIT_FINAL_BACKUP", "maybe"}, {"DAVIT_PING_URL", "hc-ping.com/x"},
      {"DAVIT_LOG_LEVEL", "loud"}, {"DAVIT_BUDGET_PODMAN", "0s"},  {"DAVIT_JOBS", "2\nX=1"},
      {"RESTIC_PASSWORD", "s3cret"}, {"DAVIT_DATA", "/x"},         {"DAVIT_KEEP_DAILY", "4"},
      {"NO_SUCH", "1"}};
  for (const auto& [key, value] : bad) {
    try {
      settings.set(key, value);
      ADD_FAILURE() << key << "=" << value << " was accepted";
    } catch (const UsageError& error) {
      EXPECT_THAT(error.what(), HasSubstr(std::string(value) == "Mars/Olympus" ? "Mars" : key == std::string("DAVIT_SCHEDULE") ? "schedule" : key == std::string("RESTIC_COMPRESSION") ? "best" : key == std::string("DAVIT_JITTER") ? "duration" : key));
      EXPECT_EQ(std::string(error.what()).find("s3cret"), std::string::npos);
    }
  }
  EXPECT_FALSE(base::find_file(path_));
}

TEST_F(SettingsTest, AChangedFileIsReadAgainAndABadOneLeavesTheOldValues) {
  Settings settings = make();
  write("DAVIT_JOBS=7\n");
  settings.reload();
  EXPECT_EQ(settings.number("DAVIT_JOBS"), 7);
  write("DAVIT_JOBS=9\nnonsense\n");
  try {
    settings.reload();
    ADD_FAILURE() << "accepted";
  } catch (const UsageError& error) {
    EXPECT_THAT(error.what(), HasSubstr("davit.conf, line 2"));
  }
  EXPECT_EQ(settings.number("DAVIT_JOBS"), 7);
}

TEST(Durations, GoThereAndBack) {
  EXPECT_EQ(parse_duration("1d2h3m4s").count(), 93784);
  EXPECT_EQ(format_duration(std::chrono::seconds(93784)), "1d2h3m4s");
  EXPECT_EQ(parse_duration("2w").count(), 14 * 86400);
  EXPECT_EQ(parse_duration("90").count(), 90);
  for (const char* bad : {"", "h", "1x", "-5s", "1h m", "99999999999999h"}) EXPECT_THROW(parse_duration(bad), UsageError);
}

}  // namespace
}  // namespace davit::jobs
