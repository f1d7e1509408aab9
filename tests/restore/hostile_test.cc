// A snapshot that somebody made to harm: whatever its trees say, nothing outside the directory is
// touched.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "repo/tree.h"
#include "support/volume_fixture.h"

namespace davit {
namespace {

using test::VolumeFixture;

class HostileSnapshot : public ::testing::Test {
 protected:
  HostileSnapshot() {
    base::make_directories(outside_);
    base::write_file_atomic(outside_ + "/precious", base::as_bytes("untouched"));
    ::chmod((outside_ + "/precious").c_str(), 0640);
    repo::UploadSession session(fixture_.repository());
    blob_ = session.save_blob(repo::BlobType::data, base::as_bytes("evil")).id.hex();
    session.finish();
  }

  void TearDown() override {
    // The story's end is always the same.
    EXPECT_EQ(base::list_directory(outside_), std::vector<std::string>{"precious"});
    EXPECT_EQ(base::get_file(outside_ + "/precious"), base::to_bytes(base::as_bytes("untouched")));
    struct stat status;
    ASSERT_EQ(::stat((outside_ + "/precious").c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 07777, 0640u);
    EXPECT_EQ(base::list_directory(fixture_.path() + "/volumes").size(), volumes_);
  }

  static std::string node(const std::string& name, const std::string& type,
                          const std::string& more) {
    return "{\"name\":\"" + name + "\",\"type\":\"" + type +
           "\",\"mode\":511,\"mtime\":\"2020-01-01T00:00:00Z\",\"atime\":\"2020-01-01T00:00:00Z\","
           "\"ctime\":\"2020-01-01T00:00:00Z\",\"uid\":0,\"gid\":0" +
           more + "}";
  }
  std::string evil_file(const std::string& name, const std::string& more = "") const {
    return node(name, "file", ",\"size\":4" + more + ",\"content\":[\"" + blob_ + "\"]");
  }
  std::string directory(const std::string& name, const std::string& nodes) {
    return node(name, "dir", ",\"content\":null,\"subtree\":\"" + put(nodes).hex() + "\"");
  }
  std::string link(const std::string& name, const std::string& target,
                   const std::string& more = "") {
    return node(name, "symlink", ",\"linktarget\":\"" + target + "\"" + more + ",\"content\":null");
  }
  base::Id put(const std::string& nodes) {
    return fixture_.put_tree("{\"nodes\":[" + nodes + "]}\n");
  }

  // Restores /volumes/v with these nodes.
  restore::Result restore(const std::string& nodes) {
    ++volumes_;
    const base::Id root = put(directory("volumes", directory("v", nodes)));
    return fixture_.restore(root, "v", "back");
  }

  VolumeFixture fixture_;
  const std::string outside_ = fixture_.path() + "/outside";
  std::string blob_;
  size_t volumes_ = 0;
};

TEST_F(HostileSnapshot, NamesThatClimbAreRefused) {
  for (const char* name :
       {"..", ".", "", "../outside/precious", "a/b", "/etc/x", "a\\u0000b", "../../x"}) {
    volumes_ = 0;
    EXPECT_THROW(restore(evil_file(name)), base::Corrupt) << name;
    EXPECT_THROW(restore(directory(name, evil_file("precious"))), base::Corrupt) << name;
    EXPECT_THROW(restore(link(name, "x")), base::Corrupt) << name;
    volumes_ = 1;
  }
}

TEST_F(HostileSnapshot, EscapedNamesThatClimbAreRefused) {
  for (const char* name : {"\\\\x2e\\\\x2e", "a\\\\x2fb", "\\\\u002e\\\\u002e", "\\\\056\\\\056"}) {
    volumes_ = 0;
    EXPECT_THROW(restore(evil_file(name)), base::Corrupt) << name;
    volumes_ = 1;
  }
}

TEST_F(HostileSnapshot, ALinkAndADirectoryOfTheSameName) {
  EXPECT_THROW(restore(link("d", outside_) + "," + directory("d", evil_file("precious"))),
               base::Error);
}

TEST_F(HostileSnapshot, ADirectoryAndALinkOfTheSameNameInTheOtherOrder) {
  EXPECT_THROW(restore(directory("d", evil_file("precious")) + "," + link("d", outside_)),
               base::Error);
}

TEST_F(HostileSnapshot, ALinkAndAFileOfTheSameName) {
  EXPECT_THROW(restore(link("f", outside_ + "/precious") + "," + evil_file("f")), base::Error);
  volumes_ = 1;
}

TEST_F(HostileSnapshot, TheSameNameTwiceApart) {
  EXPECT_THROW(
      restore(link("f", outside_ + "/precious") + "," + evil_file("g") + "," + evil_file("f")),
      base::Corrupt);
}

TEST_F(HostileSnapshot, AHardLinkToASymbolicLink) {
  // First a link that points out, then a file that claims to be the same inode.
  const std::string same = ",\"inode\":7,\"device_id\":1,\"links\":2";
  const auto result = restore(link("a", outside_ + "/precious", same) + "," + evil_file("b", same));
  EXPECT_EQ(result.problem_count, 1u);
  EXPECT_EQ(base::get_file(fixture_.volume("back") + "/b"), base::to_bytes(base::as_bytes("evil")));
}

TEST_F(HostileSnapshot, HardLinksThatDifferAreFilesOfTheirOwn) {
  const std::string same = ",\"inode\":7,\"device_id\":1,\"links\":3";
  const auto result =
      restore(evil_file("a", same) + "," + node("b", "file", same + ",\"content\":[]") + "," +
              evil_file("c", same));
  EXPECT_EQ(result.problem_count, 1u);
  struct stat a, b, c;
  ASSERT_EQ(::stat((fixture_.volume("back") + "/a").c_str(), &a), 0);
  ASSERT_EQ(::stat((fixture_.volume("back") + "/b").c_str(), &b), 0);
  ASSERT_EQ(::stat((fixture_.volume("back") + "/c").c_str(), &c), 0);
  EXPECT_EQ(a.st_ino, c.st_ino);
  EXPECT_NE(a.st_ino, b.st_ino);
  EXPECT_EQ(a.st_nlink, 2u);
  EXPECT_EQ(b.st_size, 0);
}

TEST_F(HostileSnapshot, FewerNamesThanLinksLeaveNothingBehind) {
  const std::string many = ",\"inode\":7,\"device_id\":1,\"links\":4000000000";
  EXPECT_EQ(restore(evil_file("a", many) + "," + evil_file("b", many)).files, 2u);
  EXPECT_EQ(base::list_directory(fixture_.volume("back")).size(), 2u);
  struct stat a;
  ASSERT_EQ(::stat((fixture_.volume("back") + "/a").c_str(), &a), 0);
  EXPECT_EQ(a.st_nlink, 2u);
}

TEST_F(HostileSnapshot, AnExistingLinkInTheTargetIsNotFollowed) {
  base::make_directories(fixture_.volume("back"));
  ASSERT_EQ(::symlink(outside_.c_str(), (fixture_.volume("back") + "/d").c_str()), 0);
  ASSERT_EQ(::symlink((outside_ + "/new").c_str(), (fixture_.volume("back") + "/f").c_str()), 0);
  EXPECT_THROW(restore(directory("d", evil_file("precious"))), base::Conflict);
  EXPECT_THROW(restore(evil_file("f")), base::Conflict);
  volumes_ = 1;
}

TEST_F(HostileSnapshot, ATreeThatContainsItselfCannotBeMadeButTwiceIsFine) {
  // A hash cannot contain itself; the same subtree under two names is legal.
  const std::string twin = directory("x", evil_file("f"));
  const auto result = restore(twin + "," + directory("y", evil_file("f")));
  EXPECT_EQ(result.files, 2u);
  EXPECT_EQ(result.directories, 2u);
}

TEST_F(HostileSnapshot, AFileWhoseContentIsMissing) {
  const std::string lost(64, 'a');
  EXPECT_THROW(restore(node("f", "file", ",\"size\":4,\"content\":[\"" + lost + "\"]")),
               base::Corrupt);
  EXPECT_THROW(restore(node("g", "file", ",\"size\":4,\"content\":null")), base::Corrupt);
  volumes_ = 1;
}

TEST_F(HostileSnapshot, ADirectoryWithoutAList) {
  EXPECT_THROW(restore(node("d", "dir", ",\"content\":null")), base::Corrupt);
}

TEST_F(HostileSnapshot, ASizeThatIsNotTheContents) {
  const auto result =
      restore(node("f", "file", ",\"size\":9000000000000,\"content\":[\"" + blob_ + "\"]"));
  EXPECT_EQ(result.problem_count, 1u);
  EXPECT_EQ(base::get_file(fixture_.volume("back") + "/f"), base::to_bytes(base::as_bytes("evil")));
}

TEST_F(HostileSnapshot, SocketsAndUnsortedNamesAreHarmless) {
  const auto result = restore(evil_file("z") + "," + node("s", "socket", ",\"content\":null") +
                              "," + evil_file("a"));
  EXPECT_EQ(result.files, 2u);
  EXPECT_EQ(base::list_directory(fixture_.volume("back")).size(), 2u);
}

}  // namespace
}  // namespace davit
