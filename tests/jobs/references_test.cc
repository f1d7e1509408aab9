#include "jobs/references.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/errors.h"

namespace davit::jobs {
namespace {

using base::parse_rfc3339;
using ::testing::HasSubstr;

repo::Snapshot make(const std::string& id_start, const std::string& host, const std::string& volume,
                    const std::string& time, std::vector<std::string> tags = {kTagDavit}) {
  repo::Snapshot snapshot;
  snapshot.id = *base::Id::parse(id_start + std::string(64 - id_start.size(), '0'));
  snapshot.time = {parse_rfc3339(time), 0};
  snapshot.hostname = host;
  snapshot.paths = {kVolumesPath + volume};
  snapshot.tags = std::move(tags);
  return snapshot;
}

const std::vector<repo::Snapshot> kSnapshots = {
    make("aaaa0001", "here", "db", "2026-11-20T10:00:00Z"),
    make("aaaa0002", "here", "db", "2026-11-21T10:00:00Z"),
    make("bbbb0001", "there", "db", "2026-11-21T12:00:00Z"),
    make("cccc0001", "there", "web", "2026-11-21T12:00:00Z"),
    make("dddd0001", "one", "mail", "2026-11-19T00:00:00Z"),
    make("dddd0002", "two", "mail", "2026-11-19T00:00:00Z"),
    make("aaaa0003", "here", "db", "2026-11-22T10:00:00Z", {kTagDavit, kTagPartial}),
    make("eeee0001", "here", "torn", "2026-11-22T10:00:00Z", {kTagDavit, kTagPartial}),
};

std::string find(const std::string& text, const std::string& volume = "new", const std::string& host = "here") {
  const auto found = resolve(parse_reference(text, volume, base::Zone()), kSnapshots, host);
  return found ? found->id.short_hex() : "none";
}

template <typename Kind>
std::string refusal(const std::string& text, const std::string& volume = "new") {
  try {
    return "accepted as " + find(text, volume);
  } catch (const Kind& error) {
    return error.what();
  }
}

TEST(References, NewestCountsCompleteOnesOfThisHost) {
  EXPECT_EQ(find("db"), "aaaa0002");
  EXPECT_EQ(find("db@latest"), "aaaa0002");
  EXPECT_EQ(find("there:db"), "bbbb0001");
}

TEST(References, ATimeMeansTheNewestAtOrBeforeIt) {
  EXPECT_EQ(find("db@2026-11-21T09:59:59Z"), "aaaa0001");
  EXPECT_EQ(find("db@2026-11-21T10:00:00Z"), "aaaa0002");
  EXPECT_EQ(find("db@2026-11-21T11:00:00+01:00"), "aaaa0002");
  EXPECT_EQ(find("db@2026-11-21T10:00"), "aaaa0002");
  EXPECT_EQ(find("db@2026-11-21"), "aaaa0001");
  EXPECT_THAT(refusal<base::NotFound>("db@2026-11-20T09:00"), HasSubstr("the earliest is aaaa0001"));
}

TEST(References, ATimeWithoutZoneIsLocal) {
  const auto zone = base::Zone::from_posix("EST5");
  const auto reference = parse_reference("db@2026-11-21T05:00", "new", zone);
  EXPECT_EQ(base::format_utc(*reference.at), "2026-11-21T10:00:00Z");
}

TEST(References, IdsNameAnySnapshotPartialOnesToo) {
  EXPECT_EQ(find("db@aaaa0003"), "aaaa0003");
  EXPECT_EQ(find("aaaa0003"), "aaaa0003");
  EXPECT_EQ(find("bbbb0001"), "bbbb0001");
  EXPECT_EQ(find("db@bbbb0001"), "bbbb0001");
  EXPECT_THAT(refusal<base::NotFound>("here:db@bbbb0001"), HasSubstr("no snapshot bbbb0001"));
  EXPECT_THAT(refusal<base::NotFound>("ffffffff"), HasSubstr("the repository holds: db (3, newest"));
}

TEST(References, WithoutAHostTheOnlyOtherOneIsTaken) {
  EXPECT_EQ(find("web"), "cccc0001");
  EXPECT_THAT(refusal<base::Conflict>("mail"), HasSubstr("from=one:mail, from=two:mail"));
}

TEST(References, AutoIsEmptyOnlyWhereThereIsNoneAnywhere) {
  EXPECT_EQ(find("auto", "db"), "aaaa0002");
  EXPECT_EQ(find("auto", "web"), "cccc0001");
  EXPECT_EQ(find("auto", "never-seen"), "none");
  EXPECT_THAT(refusal<base::Conflict>("auto", "mail"), HasSubstr("several other hosts"));
  EXPECT_THAT(refusal<base::NotFound>("auto", "torn"), HasSubstr("only partial snapshots"));
}

TEST(References, UnknownVolumesNameWhatThereIs) {
  EXPECT_THAT(refusal<base::NotFound>("dbx"), HasSubstr("there:web (1, newest 2026-11-21T12:00:00Z)"));
  EXPECT_THAT(refusal<base::NotFound>("nohost:db"), HasSubstr("no snapshot of nohost:db"));
}

TEST(References, WhatIsNoReferenceIsRefusedWithTheForms) {
  for (const char* bad : {"", "@latest", "../db", "a b", ":db", "db@", "db@yesterday", "db@aaaa", "db@2026-13-01",
                          "db@2026-11-21T25:00", "host:@latest"})
    EXPECT_THAT(refusal<base::UsageError>(bad), HasSubstr("a reference is VOLUME")) << bad;
}

TEST(References, OnlyPlainVolumePathsAreVolumes) {
  EXPECT_EQ(volume_of(kSnapshots[0]), "db");
  repo::Snapshot other = kSnapshots[0];
  other.paths = {"/volumes/../etc"};
  EXPECT_EQ(volume_of(other), "");
  other.paths = {"/home"};
  EXPECT_EQ(volume_of(other), "");
  other.paths = {"/volumes/a", "/volumes/b"};
  EXPECT_EQ(volume_of(other), "");
}

}  // namespace
}  // namespace davit::jobs
