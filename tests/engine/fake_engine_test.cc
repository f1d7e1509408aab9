// The engine in memory does what engines do, or the tests of the jobs would show nothing.
#include "support/fake_engine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/errors.h"
#include "support/small_tar.h"

namespace davit::test {
namespace {

using base::Conflict;
using base::IoError;
using base::NotFound;
using testing::ElementsAre;
using testing::IsEmpty;

std::string save(FakeEngine& engine, const std::string& reference) {
  std::string tar;
  engine.save_image(reference, [&](base::ByteView part) { tar += base::as_text(part); }, {});
  return tar;
}
std::vector<std::string> load(FakeEngine& engine, const std::string& tar) {
  size_t at = 0;
  return engine.load_image({[&](std::span<uint8_t> out) {
                              const size_t count = std::min(out.size(), tar.size() - at);
                              std::copy_n(tar.begin() + static_cast<ptrdiff_t>(at), count, out.begin());
                              at += count;
                              return count;
                            },
                            {},
                            {}},
                           {});
}

TEST(FakeEngine, CommitsSavesRemovesAndLoadsAgain) {
  FakeEngine engine;
  engine.add_container({.name = "db", .labels = {{"davit.commit", "true"}}, .layer = std::string(5000, 'x')});
  const std::string id = engine.commit({"db", "davit/db", "t", {{"davit.point", "01"}}, true, ""}, {});
  EXPECT_EQ(engine.state("db"), "running");
  const auto image = engine.find_image("davit/db:t");
  ASSERT_TRUE(image);
  EXPECT_EQ(image->id, id);
  EXPECT_EQ(image->labels.at("davit.commit"), "true");
  EXPECT_EQ(image->labels.at("davit.point"), "01");
  const std::string tar = save(engine, "davit/db:t");
  EXPECT_EQ(tar_files(tar).count("manifest.json"), 1u);
  EXPECT_EQ(save(engine, "davit/db:t"), tar);
  engine.remove_image("davit/db:t");
  EXPECT_FALSE(engine.find_image("davit/db:t"));
  EXPECT_NO_THROW(engine.remove_image("davit/db:t"));
  EXPECT_THROW(save(engine, "davit/db:t"), NotFound);
  EXPECT_THAT(load(engine, tar), ElementsAre("davit/db:t"));
  EXPECT_EQ(engine.find_image("davit/db:t")->id, id) << "the same image again";
  EXPECT_EQ(engine.list_images({{"davit.point", "01"}}, false).size(), 1u);
  EXPECT_THAT(engine.list_images({{"davit.point", "02"}}, false), IsEmpty());
  EXPECT_THROW(load(engine, tar.substr(0, 3000)), IoError);
}

TEST(FakeEngine, AKilledCommitLeavesWhatItMust) {
  FakeEngine engine;
  const std::string id = engine.add_container({.name = "db"});
  engine.kill_in_commit(FakeEngine::Killed::paused);
  EXPECT_THROW(engine.commit({id, "davit/db", "t", {}, true, ""}, {}), IoError);
  EXPECT_EQ(engine.state("db"), "paused");
  EXPECT_EQ(engine.dangling(), 0u);
  engine.unpause(id);
  EXPECT_THROW(engine.unpause(id), Conflict);
  engine.kill_in_commit(FakeEngine::Killed::dangling);
  EXPECT_THROW(engine.commit({id, "davit/db", "t", {{"davit.point", "01"}}, false, ""}, {}), IoError);
  EXPECT_EQ(engine.state("db"), "running") << "it was not to be paused";
  EXPECT_EQ(engine.dangling(), 1u);
  engine.remove_image(engine.list_images({{"davit.point", "01"}}, true).at(0).id);
  EXPECT_EQ(engine.dangling(), 0u);
}

TEST(FakeEngine, FailsWhereTheTestWants) {
  FakeEngine engine;
  engine.add_container({.name = "db"});
  engine.add_image("a:1", {}, std::string(9000, 'x'));
  int calls = 0;
  engine.on_call([&](const std::string&) {
    if (++calls == 2) throw IoError("the second", 0, true);
  });
  EXPECT_NO_THROW(engine.info());
  EXPECT_THROW(engine.pause("db"), IoError);
  EXPECT_EQ(engine.state("db"), "running");
  engine.on_done([](const std::string& call) {
    if (call == "pause db") throw IoError("the answer was lost", 0, true);
  });
  EXPECT_THROW(engine.pause("db"), IoError);
  EXPECT_EQ(engine.state("db"), "paused") << "but it was done";
  engine.on_stream([](const std::string& call, uint64_t bytes) {
    if (call == "save_image a:1" && bytes >= 4096) throw IoError("cut", 0, true);
  });
  std::string part;
  EXPECT_THROW(engine.save_image("a:1", [&](base::ByteView bytes) { part += base::as_text(bytes); }, {}), IoError);
  EXPECT_EQ(part.size(), 4096u);
  EXPECT_THAT(engine.calls(), ElementsAre("info", "pause db", "pause db", "save_image a:1"));
}

TEST(FakeEngine, MakesContainersWithWhatTheyNeed) {
  FakeEngine engine;
  engine.add_image("a:1");
  engine.create_volume(R"({"Name":"data"})");
  engine.create_network(R"({"Name":"front"})");
  EXPECT_THROW(engine.create_network(R"({"Name":"front"})"), Conflict);
  const std::string body =
      R"({"Image":"a:1","Labels":{"x":"y"},"HostConfig":{"Binds":["data:/d:ro","/etc:/e"]},"NetworkingConfig":{"EndpointsConfig":{"front":{}}}})";
  const std::string id = engine.create_container("web", body);
  EXPECT_THROW(engine.create_container("web", body), Conflict);
  EXPECT_THROW(engine.create_container("other", R"({"Image":"b:1"})"), NotFound);
  EXPECT_EQ(engine.state("web"), "created");
  engine.start_container(id);
  const auto details = engine.inspect_container("web");
  EXPECT_TRUE(details.running);
  EXPECT_EQ(details.labels.at("x"), "y");
  EXPECT_EQ(details.volumes.at(0).destination, "/d");
  EXPECT_THAT(details.networks, ElementsAre("front"));
  EXPECT_EQ(nlohmann::json::parse(details.json).at("Name"), "/web");
  EXPECT_EQ(engine.containers_using("data").size(), 1u);
  EXPECT_THROW(engine.remove_volume("data"), Conflict);
  EXPECT_THROW(engine.remove_image("a:1"), Conflict);
  EXPECT_THROW(engine.remove_container(id, false), Conflict);
  engine.stop_container(id, std::chrono::seconds(1));
  EXPECT_THROW(engine.top(id), Conflict);
  engine.remove_container(id, false);
  EXPECT_NO_THROW(engine.remove_container(id, false));
  engine.remove_volume("data");
  engine.remove_image("a:1");
  EXPECT_THAT(engine.references(), IsEmpty());
}

}  // namespace
}  // namespace davit::test
