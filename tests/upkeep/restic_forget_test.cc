// Our retention against the real restic: a repository of snapshots at many times, `forget --dry-run
// --json` with many policies, and the same snapshots must stay, for the same reasons.
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <random>
#include <set>

#include "base/errors.h"
#include "base/files.h"
#include "support/data_path.h"
#include "support/skip.h"
#include "support/temp_dir.h"
#include "upkeep/retention.h"

namespace davit::upkeep {
namespace {

using nlohmann::json;
using namespace std::chrono;

// stdout of a shell command; fails the test where its exit code is not 0.
std::string output_of(const std::string& command) {
  FILE* pipe = ::popen(command.c_str(), "re");
  if (!pipe) throw base::Error("popen");
  std::string text;
  char part[4096];
  while (const size_t count = std::fread(part, 1, sizeof part, pipe)) text.append(part, count);
  if (const int status = ::pclose(pipe); status != 0)
    throw base::Error(command + ": status " + std::to_string(status));
  return text;
}

// "restic 0.14.0 …" -> 14
int minor_version(const std::string& restic) {
  const std::string text = output_of(restic + " version");
  return std::atoi(text.c_str() + text.find('.') + 1);
}

Candidate to_candidate(const json& snapshot) {
  Candidate candidate;
  candidate.id = *base::Id::parse(snapshot.at("id").get<std::string>());
  const std::string time = snapshot.at("time").get<std::string>();
  candidate.time = base::parse_rfc3339(time);
  if (time.back() != 'Z') {
    const std::string zone = time.substr(time.size() - 6);
    candidate.offset_minutes = std::atoi(zone.c_str() + 1) * 60 + std::atoi(zone.c_str() + 4);
    if (zone[0] == '-') candidate.offset_minutes *= -1;
  }
  for (const auto& tag : snapshot.value("tags", json::array())) candidate.tags.push_back(tag);
  return candidate;
}

class ResticForget : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    if (std::system("restic version >/dev/null 2>&1") != 0) return;
    directory_ = new test::TempDir;
    ::setenv("RESTIC_PASSWORD", "x", 1);
    ::setenv("RESTIC_REPOSITORY", (*directory_ / "repository").c_str(), 1);
    ::setenv("RESTIC_CACHE_DIR", (*directory_ / "cache").c_str(), 1);
    output_of("restic -q init");
    // Clusters of hours, days, weeks around ends of years and changes of clocks, in several zones;
    // one in the future.
    const char* const kZones[] = {"UTC", "Asia/Kathmandu", "America/New_York", "Pacific/Auckland"};
    std::mt19937 random(20261122);
    auto time = floor<seconds>(base::parse_rfc3339("2022-12-31T20:00:00Z"));
    std::string script = "set -e\n";
    for (int i = 0; i < 42; ++i) {
      const char* const zone = kZones[random() % 4];
      const std::string stamp = base::format_utc(time);
      // --time is local to TZ.
      script += std::string("printf x | TZ=") + zone + " restic -q backup --stdin --host h " +
                (random() % 6 == 0 ? "--tag gold " : "") +
                (random() % 6 == 0 ? "--tag safe " : "") + "--time \"$(TZ=" + zone + " date -d " +
                stamp + " '+%Y-%m-%d %H:%M:%S')\" >/dev/null\n";
      const seconds steps[] = {minutes(20), minutes(50), hours(5), hours(23), days(1),
                               days(6),     days(8),     days(33), days(95)};
      time += steps[random() % 9] + seconds(random() % 900);
    }
    script +=
        "printf x | TZ=UTC restic -q backup --stdin --host h --time '2099-02-03 04:05:06' "
        ">/dev/null\n";
    const std::string file = *directory_ / "make.sh";
    base::write_file_atomic(file, base::as_bytes(script));
    output_of("sh " + file);
  }
  static void TearDownTestSuite() { delete directory_; }

  static void compare(const std::string& restic) {
    const int version = minor_version(restic);
    ::setenv("TZ", "UTC", 1);  // else restic reads times of the local offset as local ones
    std::vector<Candidate> candidates;
    for (const auto& snapshot : json::parse(output_of(restic + " snapshots --json")))
      candidates.push_back(to_candidate(snapshot));
    ASSERT_EQ(candidates.size(), 43u);

    std::vector<std::map<std::string, std::string>> policies{
        {{"keep-last", "1"}},
        {{"keep-last", "5"}, {"keep-yearly", "2"}},
        {{"keep-hourly", "12"}},
        {{"keep-daily", "7"}, {"keep-weekly", "4"}, {"keep-monthly", "6"}, {"keep-yearly", "9"}},
        {{"keep-weekly", "1000"}},
        {{"keep-monthly", "1000"}, {"keep-tag", "gold"}},
        {{"keep-yearly", "1000"}},
        {{"keep-tag", "gold,safe"}, {"keep-last", "2"}},
        {{"keep-within", "1y5m7d2h"}},
        {{"keep-within", "36h"}, {"keep-daily", "3"}},
        {{"keep-within-hourly", "2m"},
         {"keep-within-daily", "4m"},
         {"keep-within-weekly", "9m"},
         {"keep-within-monthly", "2y"},
         {"keep-within-yearly", "30y"}},
    };
    if (version >= 16) policies.push_back({{"keep-weekly", "unlimited"}, {"keep-last", "3"}});
    for (const auto& options : policies) {
      std::string arguments;
      for (const auto& [key, value] : options) arguments += " --" + key + "=" + value;
      const json groups =
          json::parse(output_of(restic + " forget --dry-run --json --group-by host" + arguments));
      ASSERT_EQ(groups.size(), 1u);
      std::set<std::string> theirs, ours;
      for (const auto& snapshot : groups[0].at("keep")) theirs.insert(snapshot.at("id"));
      const Decision decision =
          apply(candidates, Policy::parse(options), std::chrono::system_clock::now());
      std::map<std::string, std::vector<std::string>> our_reasons;
      for (const auto& keep : decision.keep) {
        // restic before 0.16 does not know the rule of the oldest.
        const bool oldest_only =
            std::all_of(keep.reasons.begin(), keep.reasons.end(),
                        [](const std::string& reason) { return reason.rfind("oldest ", 0) == 0; });
        if (version < 16 && oldest_only) continue;
        ours.insert(keep.id.hex());
        our_reasons[keep.id.hex()] = keep.reasons;
      }
      EXPECT_EQ(ours, theirs) << restic << arguments;
      if (version >= 16) {
        for (const auto& reason : groups[0].at("reasons"))
          EXPECT_EQ(our_reasons[reason.at("snapshot").at("id")],
                    reason.at("matches").get<std::vector<std::string>>())
              << arguments;
      }
    }
  }

  static inline test::TempDir* directory_ = nullptr;
};

TEST_F(ResticForget, TheSameSnapshotsStay) {
  if (!directory_) DAVIT_SKIP("no restic here");
  compare("restic");
  // A newer one, where the tests of the engines have made their tree, or where one is named.
  const char* named = std::getenv("DAVIT_RESTIC_NEWER");
  const std::string newer = named ? named : test::data_path("../../build/cache/debian-13/usr/bin/restic");
  std::error_code error;
  if (std::filesystem::exists(newer, error)) compare(newer);
}

}  // namespace
}  // namespace davit::upkeep
