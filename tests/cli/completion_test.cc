#include "cli/completion.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cli/arguments.h"
#include "cli/daemons.h"
#include "upkeep/retention.h"

namespace davit::cli {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

const Names kNames{[] {
                     return std::vector<std::string>{"pgdata", "web", "pgwal"};
                   },
                   [] {
                     return std::vector<std::string>{"schedule", "keep-daily"};
                   },
                   [] {
                     return std::vector<std::string>{"shop-db-1", "proxy"};
                   }};

// The candidates without their descriptions, then the directive.
std::vector<std::string> candidates(const std::vector<std::string>& words) {
  std::vector<std::string> result;
  const std::string text = complete(words, kNames);
  for (size_t at = 0; at < text.size();) {
    const size_t end = text.find('\n', at);
    const std::string line = text.substr(at, end - at);
    result.push_back(line.substr(0, line.find('\t')));
    at = end + 1;
  }
  return result;
}

TEST(Completion, OffersCommands) {
  EXPECT_THAT(candidates({"re"}), ElementsAre("restore", "repair", ":4"));
  EXPECT_THAT(candidates({"key", "p"}), ElementsAre("passwd", ":4"));
  EXPECT_THAT(candidates({""}),
              testing::IsSupersetOf({"backup", "status", "config", "completion"}));
  EXPECT_THAT(candidates({"--json", "sta"}), ElementsAre("status", ":4"));
  EXPECT_THAT(candidates({}), Contains("backup"));
}

TEST(Completion, OffersVolumesWhereAVolumeBelongs) {
  EXPECT_THAT(candidates({"backup", ""}), ElementsAre("pgdata", "web", "pgwal", ":4"));
  EXPECT_THAT(candidates({"backup", "web", "pg"}), ElementsAre("pgdata", "pgwal", ":4"));
  EXPECT_THAT(candidates({"backup", "--container", "p"}), ElementsAre("proxy", ":4"));
  EXPECT_THAT(candidates({"wait", "w"}), ElementsAre("web", ":4"));
  EXPECT_THAT(candidates({"wait", "web", ""}), ElementsAre(":4"));
  EXPECT_THAT(candidates({"restore", "pgd"}), ElementsAre("pgdata", ":4"));
  EXPECT_THAT(candidates({"restore", "--container", "p"}), ElementsAre("proxy", ":4"));
  EXPECT_THAT(candidates({"restore", "--container=s"}), ElementsAre("--container=shop-db-1", ":4"));
  EXPECT_THAT(candidates({"config", "set", "--volume", "w"}), ElementsAre("web", ":4"));
  EXPECT_THAT(candidates({"config", "set", "--volume=w"}), ElementsAre("--volume=web", ":4"));
  EXPECT_THAT(candidates({"config", "set", "--volume", "=", "w"}),
              ElementsAre("web", ":4"));  // as bash has it
  EXPECT_THAT(candidates({"snapshots", "--host", ""}), ElementsAre(":4"));
}

TEST(Completion, OffersOptionsSettingsShellsAndFiles) {
  EXPECT_THAT(candidates({"restore", "--in"}), ElementsAre("--in-place", ":4"));
  EXPECT_THAT(candidates({"prune", "--"}),
              testing::IsSupersetOf({"--dry-run", "--json", "--help"}));
  EXPECT_THAT(candidates({"prune", "--"}), Not(Contains("--in-place")));
  EXPECT_THAT(candidates({"config", "get", "k"}), ElementsAre("keep-daily", ":4"));
  EXPECT_THAT(candidates({"completion", ""}), ElementsAre("bash", "zsh", "fish", ":4"));
  EXPECT_THAT(candidates({"key", "add", "--new-password-file", ""}), ElementsAre(":0"));
}

TEST(Completion, MakesScriptsForTheThreeShellsOnly) {
  EXPECT_THAT(completion_script("bash"), HasSubstr("complete -F _davit davit"));
  EXPECT_THAT(completion_script("zsh"), testing::StartsWith("#compdef davit"));
  EXPECT_THAT(completion_script("fish"), HasSubstr("complete -c davit"));
  EXPECT_THROW(completion_script("csh"), base::UsageError);
}

TEST(Completion, WorksInARealBashWithARealDaemon) {
  test::TestDaemon daemon;
  for (const char* name : {"pgdata", "web"}) {
    jobs::VolumeStatus volume;
    volume.volume.name = name;
    daemon.operations.current_status.volumes.push_back(volume);
  }
  daemon.operations.meet();
  const std::string client = DAVIT_CLIENT;
  const auto completed = [&](const std::string& words, int current) {
    test::ClientProcess::Options options;
    options.program = "/bin/bash";
    options.name = "bash";
    options.environment = {{"DAVIT_SOCKET", daemon.socket()}, {"PATH", "/usr/bin:/bin"}};
    const std::string script = "source <('" + client + "' completion bash) && COMP_WORDS=('" +
                               client + "' " + words +
                               ") && COMP_CWORD=" + std::to_string(current) +
                               " && _davit && printf '%s,' \"${COMPREPLY[@]}\"";
    const test::Ran ran = test::ClientProcess({"--norc", "-c", script}, options).finish();
    EXPECT_EQ(ran.exit_code, 0) << ran.err;
    return ran.out;
  };
  EXPECT_EQ(completed("rest", 1), "restore,");
  EXPECT_EQ(completed("backup ''", 2), "pgdata,web,");
  EXPECT_EQ(completed("backup web pg", 3), "pgdata,");
  EXPECT_EQ(completed("check --read", 2), "--read-data,--read-data-subset,");
  EXPECT_EQ(completed("rep", 1), "repair,");
}

TEST(Completion, IsSilentWithoutADaemon) {
  test::ClientProcess::Options options;
  options.environment["DAVIT_SOCKET"] = "/nowhere/davit.sock";
  const test::Ran ran = test::ClientProcess({"__complete", "backup", ""}, options).finish();
  EXPECT_EQ(ran.out, ":4\n");
  EXPECT_EQ(ran.err, "");
  EXPECT_EQ(ran.exit_code, 0);
}

TEST(Arguments, OfferEveryRetentionRuleThatThereIs) {
  std::vector<std::string> names;
  for (const auto& [name, what] : keep_options()) names.push_back(name);
  EXPECT_THAT(names, testing::UnorderedElementsAreArray(upkeep::Policy::known_keys()));
}

}  // namespace
}  // namespace davit::cli
