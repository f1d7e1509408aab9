#include "cli/docker_plugin.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace davit::cli {
namespace {

using Words = std::vector<std::string>;

Words understood(const Words& words) {
  return understand_call(words).arguments;
}

TEST(DockerPlugin, DropsItsOwnNameAndDockersOptions) {
  EXPECT_EQ(understood({"/x/docker-davit", "davit", "status"}), (Words{"status"}));
  EXPECT_EQ(understood({"docker-davit", "--context", "davit", "--tls", "davit", "backup", "davit"}),
            (Words{"backup", "davit"}));
  EXPECT_EQ(understood({"docker-davit", "--host=unix:///x", "davit", "-v", "ls"}),
            (Words{"-v", "ls"}));
  EXPECT_EQ(understood({"docker-davit", "help", "davit", "restore"}), (Words{"restore", "--help"}));
  EXPECT_EQ(understood({"docker-davit", "__complete", "davit", "backup", ""}),
            (Words{"__complete", "backup", ""}));
  EXPECT_EQ(understood({"docker-davit", "docker-cli-plugin-metadata"}),
            (Words{"docker-cli-plugin-metadata"}));
  EXPECT_EQ(understood({"docker-davit"}), (Words{}));
  EXPECT_EQ(understood({"docker-davit", "--host"}), (Words{"--host"}));
  EXPECT_EQ(understand_call({"docker-davit", "davit"}).called_as, "docker davit");
}

TEST(DockerPlugin, LeavesAVolumeOfItsNameAlone) {
  EXPECT_EQ(understood({"davit", "backup", "davit"}), (Words{"backup", "davit"}));
  EXPECT_EQ(understood({"/usr/bin/davit", "davit"}), (Words{"davit"}));
  EXPECT_EQ(understand_call({"davit", "status"}).called_as, "davit");
  EXPECT_EQ(understood({}), (Words{}));
}

TEST(DockerPlugin, HasTheMetadataThatDockerAsksFor) {
  const auto metadata = nlohmann::json::parse(plugin_metadata());
  EXPECT_EQ(metadata["SchemaVersion"], "0.1.0");
  EXPECT_FALSE(metadata["Vendor"].get<std::string>().empty());
  EXPECT_EQ(metadata["Version"], DAVIT_VERSION);
  EXPECT_FALSE(metadata["ShortDescription"].get<std::string>().empty());
}

}  // namespace
}  // namespace davit::cli
