#include "volumes/installation.h"

#include <gtest/gtest.h>

#include "base/bytes.h"
#include "base/files.h"
#include "support/temp_dir.h"

namespace davit::volumes {
namespace {

using test::TempDir;

std::string message_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const base::Error& error) {
    return error.what();
  }
  return "";
}

struct Places {
  Places() {
    base::make_directories(data);
    base::make_directories(other);
    base::make_directories(second);
  }
  TempDir dir;
  std::string data = dir / "data", other = dir / "other", second = dir / "second";
};

TEST(Installation, KeepsItsIdentity) {
  Places at;
  std::string id;
  {
    const Installation first(at.data, at.second, "one");
    EXPECT_TRUE(first.is_new());
    id = first.id();
  }
  const Installation again(at.data, at.second, "two");
  EXPECT_FALSE(again.is_new());
  EXPECT_EQ(again.id(), id);
}

TEST(Installation, OneDaemonADirectoryAndTheOtherIsNamed) {
  Places at;
  const Installation first(at.data, "", "the Docker plugin on db1");
  const std::string said = message_of([&] { Installation(at.data, "", "process 7"); });
  EXPECT_NE(said.find("the Docker plugin on db1"), std::string::npos) << said;
  EXPECT_THROW(Installation(at.data, "", "process 7"), base::Conflict);
}

TEST(Installation, PluginThatWasInstalledAgainTakesUpItsData) {
  Places at;
  const std::string id = Installation(at.data, at.second, "one").id();
  base::remove_file(at.second + "/installation");  // `plugin rm` deletes the propagated mount
  EXPECT_EQ(Installation(at.data, at.second, "two").id(), id);
  base::remove_file(at.data + "/installation");
  EXPECT_THROW(Installation(at.data, at.second, "three"), MisplacedData);
}

TEST(Installation, UpgradeThatPutTheMountSourceBackIsNoticed) {
  Places at;
  const std::string id = Installation(at.data, at.second, "before").id();
  const std::string said =
      message_of([&] { Installation(at.other, at.second, "after, an empty directory"); });
  EXPECT_THROW(Installation(at.other, at.second, "after"), MisplacedData);
  EXPECT_NE(said.find(id), std::string::npos) << said;
  EXPECT_NE(said.find("docker plugin set"), std::string::npos) << said;
  EXPECT_NE(said.find(at.data), std::string::npos) << said;   // where it was
  EXPECT_FALSE(base::find_file(at.other + "/installation"));  // not claimed

  const std::string stranger = Installation(at.other, "", "somebody else").id();
  EXPECT_THROW(Installation(at.other, at.second, "after"), MisplacedData);
  EXPECT_EQ(Installation(at.other, "", "somebody else").id(), stranger);
  EXPECT_EQ(Installation(at.data, at.second, "repaired").id(), id);
}

TEST(Installation, DataMovedByItsOwnerIsStillItsOwn) {
  Places at;
  const std::string id = Installation(at.data, at.second, "before").id();
  base::rename_durably(at.data, at.dir / "moved");
  EXPECT_EQ(Installation(at.dir / "moved", at.second, "after").id(), id);
}

TEST(Installation, DamagedMarkIsNotGuessed) {
  Places at;
  base::write_file_atomic(at.data + "/installation", base::as_bytes("hello\n"));
  EXPECT_THROW(Installation(at.data, at.second, "one"), base::Corrupt);
}

}  // namespace
}  // namespace davit::volumes
