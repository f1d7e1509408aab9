// Commit, save and load: streams that break off, stop, fall silent, and end well without being good.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "base/errors.h"
#include "engine/scripted_engine.h"
#include "support/small_tar.h"
#include "support/temp_dir.h"

namespace davit::engine {
namespace {

using namespace std::chrono_literals;
using base::IoError;
using test::ScriptedEngine;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::SizeIs;
using testing::StartsWith;
using Connection = ScriptedEngine::Connection;
using Request = ScriptedEngine::Request;

const std::string kTar = test::tar_member("manifest.json", "[]") + test::tar_member("layer", std::string(3000, 'x')) +
                         test::tar_end();
const char* const kChunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
constexpr Patience kShort{.silence = 100ms};

std::string chunk(const std::string& bytes) {
  char size[24];
  std::snprintf(size, sizeof size, "%zx\r\n", bytes.size());
  return size + bytes + "\r\n";
}

// What `call` is refused with.
template <typename Thrown, typename Call>
Thrown failure(Call call) {
  try {
    call();
  } catch (const Thrown& error) {
    return error;
  }
  throw std::runtime_error("no such failure");
}

std::string saved(Engine& engine) {
  std::string bytes;
  engine.save_image("davit/c:t", [&](base::ByteView part) { bytes += base::as_text(part); }, {});
  return bytes;
}

wire::BodySource source(const std::string& bytes, std::optional<uint64_t> size = std::nullopt) {
  auto at = std::make_shared<size_t>(0);
  return {[=](std::span<uint8_t> out) {
            const size_t count = std::min(out.size(), bytes.size() - *at);
            std::copy_n(bytes.begin() + static_cast<ptrdiff_t>(*at), count, out.begin());
            *at += count;
            return count;
          },
          size,
          {}};
}

TEST(EngineSave, GivesEveryByte) {
  ScriptedEngine whole(ScriptedEngine::saying(200, kTar));
  EXPECT_EQ(saved(*whole.client()), kTar);
  EXPECT_THAT(whole.asked(), ElementsAre("GET /v1.41/images/davit/c%3At/get HTTP/1.1"));
  ScriptedEngine in_parts([](Connection& connection, Request&) {
    std::string bytes = kChunked;
    for (size_t at = 0; at < kTar.size(); at += 700) bytes += chunk(kTar.substr(at, 700));
    return connection.write(bytes + "0\r\n\r\n");
  });
  const auto client = in_parts.client();
  EXPECT_EQ(saved(*client), kTar);
  EXPECT_EQ(saved(*client), kTar);
}

TEST(EngineSave, WhatBreaksOffIsATransientError) {
  const std::string half = kTar.substr(0, 2000);
  for (const std::string& bytes :
       {kChunked + chunk(half), kChunked + chunk(kTar), kChunked + std::string("ffff\r\n") + half, std::string(kChunked),
        "HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n" + half}) {
    ScriptedEngine engine(ScriptedEngine::breaking_off(bytes));
    const auto error = failure<IoError>([&] { saved(*engine.client()); });
    EXPECT_TRUE(error.transient()) << error.what();
  }
  ScriptedEngine engine(ScriptedEngine::breaking_off(kChunked + chunk(half)));
  EXPECT_THAT(failure<IoError>([&] { saved(*engine.client()); }).what(),
              StartsWith("the engine's stream of the image davit/c:t broke off after 2.0 KiB: "));
}

TEST(EngineSave, AStreamThatEndsWellWithoutTheTarsEndIsNotGood) {
  const std::string cut = kTar.substr(0, 2048);
  const std::string words =
      R"({"errorDetail":{"message":"open /var/lib/x: no space left"},"error":"open /var/lib/x: no space left"})";
  const std::pair<std::string, std::string> cases[] = {
      {cut + words + "\r\n", "no space left"}, {cut + R"({"error":"a word"})", "a word"}, {cut + R"({"error":{}})", "without words"},
      {cut, "the tar has no end"},             {kTar.substr(0, kTar.size() - 512), "no end"}, {kTar + "x", "no end"},
      {"{\"error\":\"short\"}", "short"}};
  for (const auto& [bytes, part] : cases) {
    ScriptedEngine engine(ScriptedEngine::saying(200, bytes));
    const auto error = failure<IoError>([&] { saved(*engine.client()); });
    EXPECT_TRUE(error.transient());
    EXPECT_THAT(error.what(), HasSubstr(part));
  }
  ScriptedEngine empty(ScriptedEngine::saying(200, ""));
  EXPECT_THROW(saved(*empty.client()), IoError);
}

TEST(EngineSave, AnImageThatIsNotThereIsNotFoundAndNothingComes) {
  ScriptedEngine engine(ScriptedEngine::saying(404, R"({"message":"No such image"})"));
  EXPECT_THROW(engine.client()->save_image("x:y", [](base::ByteView) { FAIL(); }, {}), base::NotFound);
}

TEST(EngineSave, WhatTheSinkThrowsPassesAsItIs) {
  ScriptedEngine engine(ScriptedEngine::saying(200, kTar));
  const auto client = engine.client();
  EXPECT_THROW(client->save_image("x:y", [](base::ByteView) { throw base::Corrupt("mine"); }, {}), base::Corrupt);
  const auto error = failure<IoError>(
      [&] { client->save_image("x:y", [](base::ByteView) { throw IoError("the disk is full", 28); }, {}); });
  EXPECT_STREQ(error.what(), "the disk is full");
  EXPECT_FALSE(error.transient());
}

// The engine says half a tar and then nothing, until the client goes.
bool fall_silent(Connection& connection, Request&) {
  connection.write(kChunked + chunk(kTar.substr(0, 1024)));
  connection.wait_for_end();
  return false;
}

TEST(EngineSave, StopsAtOnce) {
  ScriptedEngine engine(fall_silent);
  std::stop_source stop;
  std::atomic<bool> came{false};
  std::thread stopper([&] {
    while (!came) std::this_thread::yield();
    stop.request_stop();
  });
  EXPECT_THROW(engine.client()->save_image("x:y", [&](base::ByteView) { came = true; }, stop.get_token()),
               base::Cancelled);
  stopper.join();
  EXPECT_THROW(engine.client()->save_image("x:y", [](base::ByteView) {}, stop.get_token()), base::Cancelled);
}

TEST(EngineSave, AnEngineThatFallsSilentIsATransientError) {
  ScriptedEngine engine(fall_silent);
  const auto error = failure<IoError>([&] { saved(*engine.client(kShort)); });
  EXPECT_TRUE(error.transient());
  EXPECT_THAT(error.what(), HasSubstr("no sign of life for 0.1 s"));
}

TEST(EngineSave, ASlowSinkIsNoSilence) {
  ScriptedEngine engine(ScriptedEngine::saying(200, kTar));
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_NO_THROW(engine.client(kShort)->save_image(
      "x:y",
      [&](base::ByteView) {
        while (std::chrono::steady_clock::now() < begin + 2 * kShort.silence) std::this_thread::yield();
      },
      {}));
}

TEST(EngineLoad, SendsTheTarAndSaysWhatWasLoaded) {
  std::string head, body;
  ScriptedEngine engine([&](Connection& connection, Request& request) {
    if (!connection.read_body(request)) return false;
    head = request.head;
    body = request.body;
    return connection.write(kChunked + chunk(R"({"status":"Loading layer","progressDetail":{"current":1}})" "\r\n" R"({"stre)") +
                            chunk("am\":\"Loaded image: davit/c:t\\n\"}\r\n") +
                            chunk("{\"stream\":\"Loaded image ID: sha256:aa\\n\"}") + "0\r\n\r\n");
  });
  const auto client = engine.client();
  EXPECT_THAT(client->load_image(source(kTar), {}), ElementsAre("davit/c:t", "sha256:aa"));
  EXPECT_EQ(body, kTar);
  EXPECT_THAT(head, AllOf(HasSubstr("Content-Type: application/x-tar"), HasSubstr("Transfer-Encoding: chunked")));
  EXPECT_THAT(client->load_image(source(kTar, kTar.size()), {}), SizeIs(2));
  EXPECT_EQ(body, kTar);
  EXPECT_THAT(head, HasSubstr("Content-Length: " + std::to_string(kTar.size())));
  EXPECT_THAT(engine.asked(), testing::Each("POST /v1.41/images/load?quiet=0 HTTP/1.1"));
}

TEST(EngineLoad, PodmanNamesSeveralInOneLine) {
  ScriptedEngine engine(ScriptedEngine::saying(200, R"({"stream":"Loaded image: localhost/a:1,localhost/b:2"})"), test::kPodman);
  EXPECT_THAT(engine.client()->load_image(source(kTar), {}), ElementsAre("localhost/a:1", "localhost/b:2"));
}

TEST(EngineLoad, AnErrorInsideAGoodAnswerIsAnError) {
  for (const char* body : {R"({"errorDetail":{"message":"unexpected EOF"},"error":"unexpected EOF"})",
                           "{\"stream\":\"Loaded image: a:1\"}\n{\"error\":\"unexpected EOF\"}\n"}) {
    ScriptedEngine engine(ScriptedEngine::saying(200, body));
    const auto error = failure<IoError>([&] { engine.client()->load_image(source(kTar), {}); });
    EXPECT_THAT(error.what(), HasSubstr("the engine cannot load the image: unexpected EOF"));
    EXPECT_FALSE(error.transient()) << "the same stream will fail again";
  }
}

TEST(EngineLoad, AnErrorWhileItIsStillSentHasTheEnginesWords) {
  ScriptedEngine engine([](Connection& connection, Request&) {
    connection.write(kChunked + chunk(R"({"error":"invalid tar header"})" "\n") + "0\r\n\r\n");
    connection.wait_for_end();
    return false;
  });
  wire::BodySource endless;
  endless.read = [](std::span<uint8_t> out) { return out.size(); };
  const auto error = failure<IoError>([&] { engine.client()->load_image(endless, {}); });
  EXPECT_THAT(error.what(), HasSubstr("invalid tar header"));
}

TEST(EngineLoad, NothingLoadedIsAnError) {
  for (const char* body : {"", "{}", "no json", R"({"stream":"Loaded image: "})", R"({"stream":7})", "[]\n[]"}) {
    ScriptedEngine engine(ScriptedEngine::saying(200, body));
    EXPECT_THAT(failure<IoError>([&] { engine.client()->load_image(source(kTar), {}); }).what(),
                HasSubstr("loaded nothing"))
        << body;
  }
  ScriptedEngine endless(ScriptedEngine::saying(200, std::string(3 << 20, 'x')));
  EXPECT_THROW(endless.client()->load_image(source(kTar), {}), base::Corrupt);
}

TEST(EngineLoad, AnAnswerThatBreaksOffIsATransientErrorWhateverItSaid) {
  for (const std::string& bytes : {std::string(), kChunked + chunk("{\"stream\":\"Loaded image: a:1\"}\n")}) {
    ScriptedEngine engine(ScriptedEngine::breaking_off(bytes));
    const auto error = failure<NoAnswer>([&] { engine.client()->load_image(source(kTar), {}); });
    EXPECT_TRUE(error.transient());
    EXPECT_THAT(error.what(), HasSubstr("loading an image, after"));
  }
}

TEST(EngineLoad, WhatTheSourceThrowsPassesAsItIs) {
  ScriptedEngine engine(ScriptedEngine::saying(200, ""));
  wire::BodySource broken;
  broken.read = [](std::span<uint8_t>) -> size_t { throw IoError("the repository is away", 5); };
  EXPECT_STREQ(failure<IoError>([&] { engine.client()->load_image(broken, {}); }).what(), "the repository is away");
  broken.read = [](std::span<uint8_t>) -> size_t { throw base::Corrupt("damaged"); };
  EXPECT_THROW(engine.client()->load_image(broken, {}), base::Corrupt);
}

TEST(EngineLoad, StopsWhileTheEngineUnpacks) {
  std::stop_source stop;
  ScriptedEngine engine([&](Connection& connection, Request& request) {
    connection.read_body(request);
    stop.request_stop();
    connection.wait_for_end();
    return false;
  });
  EXPECT_THROW(engine.client()->load_image(source(kTar), stop.get_token()), base::Cancelled);
}

TEST(EngineCommit, SaysEverythingThatEnginesDifferIn) {
  std::string body;
  ScriptedEngine engine([&](Connection& connection, Request& request) {
    connection.read_body(request);
    body = request.body;
    return connection.answer(201, "{\"Id\":\"" + std::string(64, 'a') + "\"}");
  });
  const auto client = engine.client();
  CommitRequest request{"c1", "localhost:5000/davit/c_1", "T.1", {{"davit.point", "01"}, {"odd", "a \"b\" $c\\"}}, true, "&"};
  EXPECT_EQ(client->commit(request, {}), "sha256:" + std::string(64, 'a'));
  EXPECT_EQ(body, "{}");
  request.pause = false;
  request.labels.clear();
  client->commit(request, {});
  EXPECT_THAT(engine.asked(),
              ElementsAre("POST /v1.41/commit?container=c1&repo=localhost%3A5000%2Fdavit%2Fc_1&tag=T.1&pause=1&comment=%26"
                          "&changes=LABEL%20%22davit.point%22%3D%2201%22"
                          "&changes=LABEL%20%22odd%22%3D%22a%20%5C%22b%5C%22%20%5C%24c%5C%5C%22 HTTP/1.1",
                          "POST /v1.41/commit?container=c1&repo=localhost%3A5000%2Fdavit%2Fc_1&tag=T.1&pause=0&comment=%26 HTTP/1.1"));
}

TEST(EngineCommit, WhatCannotBeANameOrALabelIsRefusedBeforeAnythingIsDone) {
  ScriptedEngine engine(ScriptedEngine::saying(201, R"({"Id":"x"})"));
  const auto client = engine.client();
  const auto commit = [&](const std::string& repository, const std::string& tag, const Labels& labels = {}) {
    client->commit({"c1", repository, tag, labels, true, ""}, {});
  };
  for (const char* repository : {"", "A/b", "a/B", "a//b", "/a", "a/", "a/-b", "a/b-", "a/b..c", "a/b___c", "a b", "a:b/"})
    EXPECT_THROW(commit(repository, "t"), base::UsageError) << repository;
  EXPECT_THROW(commit(std::string(300, 'a'), "t"), base::UsageError);
  for (const std::string& tag : {std::string(), std::string(".a"), std::string("-a"), std::string("a b"), std::string(129, 'a')})
    EXPECT_THROW(commit("a", tag), base::UsageError) << tag;
  EXPECT_THROW(commit("a", "t", {{"k", "v\nRUN x"}}), base::UsageError);
  EXPECT_TRUE(engine.asked().empty());
  for (const char* repository : {"a", "davit/c-1", "a.b/c--d/e__f", "Registry.example:5000/a", "localhost/davit/a_b.c"})
    EXPECT_NO_THROW(commit(repository, "20260101T000000Z")) << repository;
}

TEST(EngineCommit, IsNeverSentTwice) {
  std::atomic<int> commits{0};
  ScriptedEngine engine([&](Connection& connection, Request& request) {
    connection.read_body(request);
    if (request.line.compare(0, 4, "POST") != 0) return connection.answer(200, "[]");
    ++commits;
    return false;  // killed in it
  });
  const auto client = engine.client();
  client->list_containers();  // there is a connection now that was good
  const auto error = failure<IoError>([&] { client->commit({"c1", "a", "t", {}, true, ""}, {}); });
  EXPECT_TRUE(error.transient());
  EXPECT_THAT(error.what(), StartsWith("committing container c1: "));
  EXPECT_EQ(commits, 1);
}

TEST(EngineCommit, StopsWhileTheEngineWorks) {
  std::stop_source stop;
  ScriptedEngine engine([&](Connection& connection, Request& request) {
    connection.read_body(request);
    stop.request_stop();
    connection.wait_for_end();
    return false;
  });
  EXPECT_THROW(engine.client()->commit({"c1", "a", "t", {}, true, ""}, stop.get_token()), base::Cancelled);
}

TEST(EngineRestart, TheNextCallWorksWithTheSameClient) {
  test::TempDir directory;
  const std::string path = directory / "s";
  auto old = std::make_unique<ScriptedEngine>(ScriptedEngine::breaking_off(kChunked + chunk(kTar.substr(0, 1024))),
                                              "Api-Version: 1.45\r\n", path);
  const auto client = make_engine("unix://" + path);
  EXPECT_TRUE(failure<IoError>([&] { saved(*client); }).transient());
  old.reset();
  EXPECT_TRUE(failure<IoError>([&] { saved(*client); }).transient()) << "nobody listens";
  ::unlink(path.c_str());
  ScriptedEngine next(ScriptedEngine::saying(200, kTar), test::kDocker, path);
  EXPECT_EQ(saved(*client), kTar);
  EXPECT_EQ(client->api_version(), "1.41");
}

TEST(EngineRestart, AConnectionThatDiedMeanwhileIsNoFailure) {
  test::TempDir directory;
  const std::string path = directory / "s";
  auto old = std::make_unique<ScriptedEngine>(ScriptedEngine::saying(200, "[]"), "Api-Version: 1.45\r\n", path);
  const auto client = make_engine("unix://" + path);
  client->list_containers();
  old.reset();
  ::unlink(path.c_str());
  // An older one, which does not know the version that was agreed upon.
  ScriptedEngine next(
      [](Connection& connection, Request& request) {
        connection.read_body(request);
        if (request.line.find("/v1.41/") == std::string::npos)
          return connection.answer(400, R"({"message":"client version 1.45 is too new. Maximum supported API version is 1.41"})");
        return connection.answer(200, request.line.find("/load") == std::string::npos ? kTar : R"({"stream":"Loaded image: a:1"})");
      },
      test::kDocker, path);
  EXPECT_EQ(saved(*client), kTar);
  EXPECT_EQ(client->load_image(source(kTar), {}).front(), "a:1");
}

}  // namespace
}  // namespace davit::engine
