// What is written down of removals and of mirrors, and how their URLs are read.
#include "jobs/mirror_journal.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/errors.h"
#include "base/files.h"
#include "jobs/mirror_book.h"
#include "jobs/mirror_urls.h"
#include "support/temp_dir.h"

namespace davit::jobs {
namespace {

using store::Kind;
using store::Name;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

base::Id id(uint8_t first) {
  base::Id id;
  id.bytes[0] = first;
  return id;
}

TEST(MirrorJournal, KeepsWhatWasRemovedUntilItIsForgotten) {
  test::TempDir directory;
  MirrorJournal journal(directory / "a/b/journal");
  EXPECT_THAT(journal.read().removed, IsEmpty());
  for (const Kind kind : {Kind::snapshot, Kind::index, Kind::data, Kind::key})
    journal.add({kind, id(1)});
  const auto content = MirrorJournal(directory / "a/b/journal").read();
  EXPECT_THAT(content.removed, ElementsAre(Name{Kind::snapshot, id(1)}, Name{Kind::index, id(1)},
                                           Name{Kind::data, id(1)}, Name{Kind::key, id(1)}));
  EXPECT_FALSE(content.pruned);
  journal.add({Kind::data, id(2)});
  const std::vector<Name> pending{{Kind::key, id(1)}};
  journal.forget(content, pending);
  EXPECT_THAT(journal.read().removed, ElementsAre(Name{Kind::key, id(1)}, Name{Kind::data, id(2)}));
  journal.forget(journal.read(), {});
  EXPECT_THAT(journal.read().removed, IsEmpty());
  EXPECT_THAT(base::list_directory(directory / "a/b"), IsEmpty());
}

TEST(MirrorJournal, KnowsTheSnapshotsOfTheLastPrune) {
  test::TempDir directory;
  MirrorJournal journal(directory / "journal");
  journal.add_prune(std::vector<base::Id>{id(1), id(2)});
  journal.add_prune(std::vector<base::Id>{id(3)});
  journal.add_known(id(2));
  const auto content = journal.read();
  EXPECT_TRUE(content.pruned);
  EXPECT_THAT(content.known, ElementsAre(id(2), id(3)));
  journal.add_prune({});
  EXPECT_TRUE(journal.read().pruned);
  EXPECT_THAT(journal.read().known, IsEmpty());
}

TEST(MirrorJournal, WhatACrashLeftOfALineCountsForNothing) {
  test::TempDir directory;
  const std::string path = directory / "journal";
  MirrorJournal(path).add({Kind::data, id(1)});
  auto bytes = base::get_file(path);
  const auto whole = base::to_bytes(bytes);
  for (size_t cut = 1; cut <= 70; ++cut) {
    base::write_file_atomic(path, base::ByteView(whole).first(whole.size() - cut));
    EXPECT_THAT(MirrorJournal(path).read().removed, IsEmpty()) << cut;
    MirrorJournal(path).add({Kind::data, id(2)});
    const auto removed = MirrorJournal(path).read().removed;
    EXPECT_EQ(removed.back(), (Name{Kind::data, id(2)})) << cut;
  }
}

TEST(MirrorBook, RemembersWhatWasSeenAndWhatWasRepaired) {
  test::TempDir directory;
  const base::Time when = base::parse_rfc3339("2026-11-21T18:00:00Z");
  {
    MirrorBook book(directory / "mirrors");
    EXPECT_EQ(book.summary(), "");
    book.set({{"/a", false}, {"s3:b/c", true}});
    EXPECT_EQ(book.seen("/a"), std::nullopt);
    book.note_seen("/a", "1234");
    book.note_in_sync("/a", when, "");
    for (const char* place : {"/a", "s3:b/c"}) book.journal(place)->add({Kind::index, id(1)});
    for (int i = 0; i < 30; ++i) book.add_repair(when, "repaired " + std::to_string(i));
    EXPECT_EQ(book.repair_count(), 30u);
  }
  MirrorBook book(directory / "mirrors");
  book.set({{"s3:b/c", true}, {"/a", false}});
  EXPECT_EQ(book.seen("/a"), "1234");
  EXPECT_EQ(book.seen("s3:b/c"), std::nullopt);
  const auto list = book.list();
  EXPECT_EQ(list[0].place, "s3:b/c");
  EXPECT_TRUE(list[0].append_only);
  EXPECT_EQ(list[1].in_sync, when);
  EXPECT_EQ(book.repairs().size(), 20u);
  EXPECT_EQ(book.repairs().back(), "2026-11-21T18:00:00Z repaired 29");
  for (const char* place : {"/a", "s3:b/c"})
    EXPECT_THAT(book.journal(place)->read().removed, ElementsAre(Name{Kind::index, id(1)}));
  book.accept("/a");
  EXPECT_EQ(book.seen("/a"), std::nullopt);
  EXPECT_THROW(book.accept("/nowhere"), base::NotFound);
}

TEST(MirrorBook, SaysSinceWhenAMirrorIsAway) {
  test::TempDir directory;
  MirrorBook book(directory / "mirrors");
  book.set({{"/a", false}, {"/b", false}});
  const base::Time first{std::chrono::hours(1)}, second{std::chrono::hours(2)};
  book.note_failure("/a", first, "away", "nobody answers");
  book.note_failure("/a", second, "away", "nobody answers still");
  EXPECT_EQ(book.list()[0].away_since, first);
  EXPECT_EQ(book.list()[0].error, "nobody answers still");
  EXPECT_THAT(book.summary(), HasSubstr("/a: away"));
  book.note_behind("/a", 2, 20);
  EXPECT_EQ(book.list()[0].away_since, std::nullopt);
  EXPECT_EQ(book.list()[0].behind_bytes, 20u);
  for (const char* place : {"/a", "/b"}) book.note_in_sync(place, second, "");
  EXPECT_EQ(book.summary(), "2 mirrors are in sync");
}

TEST(MirrorUrls, AreSeparatedByBlanksOrCommas) {
  const auto mirrors = parse_mirrors(" /srv/a, append-only:s3:https://host/bucket\t\n/srv/b,,");
  ASSERT_EQ(mirrors.size(), 3u);
  EXPECT_EQ(mirrors[0].url, "/srv/a");
  EXPECT_FALSE(mirrors[0].append_only);
  EXPECT_EQ(mirrors[1].url, "s3:https://host/bucket");
  EXPECT_TRUE(mirrors[1].append_only);
  EXPECT_THAT(parse_mirrors(" "), IsEmpty());
  EXPECT_THROW(parse_mirrors("/srv/a gopher:x"), base::UsageError);
}

TEST(MirrorUrls, ShowNoPassword) {
  for (const char* url :
       {"rest:https://me:secret@host:8000/", "rest:http://me:secret@host",
        "/srv/a,append-only:rest:https://me:secret@host/ /srv/b", "rest:https://me:se@cret@h/"}) {
    EXPECT_THAT(hide_passwords(url), Not(HasSubstr("cret"))) << url;
    EXPECT_THAT(hide_passwords(url), HasSubstr("me:***@h")) << url;
  }
  for (const char* url :
       {"", "/srv/a", "s3:https://host:9000/b", "sftp://me@host:22//x", "sftp:me@host:/x"})
    EXPECT_EQ(hide_passwords(url), url);
}

}  // namespace
}  // namespace davit::jobs
