// Names of committed images: always ones that an engine takes.
#include "jobs/image_names.h"

#include <gtest/gtest.h>

#include <functional>
#include <regex>

namespace davit::jobs {
namespace {

using engine::Kind;

const base::Time kTime = base::parse_rfc3339("2026-11-22T18:00:05.75Z");

TEST(ImageNames, TellContainerAndTime) {
  EXPECT_EQ(commit_reference(Kind::docker, "web", kTime), "davit/web:20261122T180005Z");
  EXPECT_EQ(commit_reference(Kind::podman, "web", kTime), "localhost/davit/web:20261122T180005Z");
  EXPECT_EQ(commit_image_name(Kind::docker, "web", kTime, 3).reference(), "davit/web:20261122T180005Z-3");
}

TEST(ImageNames, ReplaceWhatARepositoryMayNotHold) {
  const auto component = [](const std::string& name) {
    return commit_image_name(Kind::docker, name, kTime).repository.substr(6);
  };
  EXPECT_EQ(component("shop_db_1"), "shop_db_1");
  EXPECT_EQ(component("Shop.DB-1"), "shop.db-1");
  EXPECT_EQ(component("a__b"), "a__b");
  EXPECT_EQ(component("a___b"), "a---b");
  EXPECT_EQ(component("a._b"), "a--b");
  EXPECT_EQ(component("a---b"), "a---b");
  EXPECT_EQ(component("ends_"), "ends");
  EXPECT_EQ(component("_.-"), "container");
  EXPECT_EQ(component("b\xc3\xbc" "ro"), "b--ro");
}

TEST(ImageNames, OfTwoContainersAreNeverTheSame) {
  EXPECT_EQ(commit_reference(Kind::docker, "Web", kTime), "davit/web:20261122T180005Z-297510");
  EXPECT_NE(commit_reference(Kind::docker, "Web", kTime), commit_reference(Kind::docker, "wEb", kTime));
  EXPECT_NE(commit_reference(Kind::docker, "web_", kTime), commit_reference(Kind::docker, "web.", kTime));
}

TEST(ImageNames, AreAlwaysOnesThatAnEngineTakes) {
  const std::regex good("(localhost/)?davit/[a-z0-9]+((\\.|_|__|-+)[a-z0-9]+)*:[0-9]{8}T[0-9]{6}Z(-[0-9a-f]{6})?");
  const std::string letters = "aZ9._-";
  std::string name;
  // Every name of up to five characters of these.
  const std::function<void(size_t)> each = [&](size_t more) {
    if (!name.empty()) {
      const std::string reference = commit_reference(Kind::podman, name, kTime);
      ASSERT_TRUE(std::regex_match(reference, good)) << name << " gives " << reference;
    }
    if (more == 0) return;
    for (const char c : letters) {
      name.push_back(c);
      each(more - 1);
      name.pop_back();
    }
  };
  each(5);
  EXPECT_LE(commit_reference(Kind::podman, std::string(255, 'x'), kTime).size(), 255u);
}

}  // namespace
}  // namespace davit::jobs
