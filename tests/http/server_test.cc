#include "http/server.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <latch>
#include <random>
#include <thread>

#include "base/errors.h"
#include "base/files.h"
#include "support/temp_dir.h"
#include "support/unix_client.h"

namespace davit::http {
namespace {

using test::eventually;
using test::UnixClient;

std::string post(const std::string& target, const std::string& body, const std::string& more = "") {
  return "POST " + target +
         " HTTP/1.1\r\nHost: \r\nContent-Length: " + std::to_string(body.size()) + "\r\n" + more +
         "\r\n" + body;
}
bool ends_with_body(const std::string& answer, const std::string& body) {
  return answer.ends_with("\r\n\r\n" + body);
}

class ServerTest : public ::testing::Test {
 protected:
  void serve(Handler handler, const std::function<void(ServerOptions&)>& change = {}) {
    ServerOptions options;
    options.path = dir / "s";
    if (change) change(options);
    server = std::make_unique<Server>(options, std::move(handler));
  }
  void serve_echo(const std::function<void(ServerOptions&)>& change = {}) {
    serve(
        [](const Request& request, Responder& responder) {
          responder.send(200, "text/plain",
                         request.method + " " + request.target + " " + request.body);
        },
        change);
  }

  test::TempDir dir;
  std::unique_ptr<Server> server;
};

TEST_F(ServerTest, AnswersOverAKeptConnection) {
  serve_echo();
  UnixClient client(dir / "s");
  for (int i = 0; i < 3; ++i) {
    const std::string answer = client.ask(post("/a", "body" + std::to_string(i)));
    EXPECT_TRUE(answer.starts_with("HTTP/1.1 200 OK\r\n")) << answer;
    EXPECT_TRUE(ends_with_body(answer, "POST /a body" + std::to_string(i))) << answer;
  }
  EXPECT_EQ(server->connections(), 1u);
}

TEST_F(ServerTest, TakesAnyHostAndNone) {
  serve_echo();
  for (const char* host : {"Host: \r\n", "Host: plugin\r\n", "Host: plugin.moby.localhost\r\n",
                           "Host: /run/x.sock\r\n", ""}) {
    UnixClient client(dir / "s");
    EXPECT_TRUE(ends_with_body(
        client.ask(std::string("POST /x HTTP/1.1\r\n") + host + "Content-Length: 0\r\n\r\n"),
        "POST /x "))
        << host;
  }
}

TEST_F(ServerTest, ShowsHeadersToTheHandler) {
  serve([](const Request& request, Responder& responder) {
    responder.send(200, "text/plain",
                   request.find_header("content-TYPE").value_or("absent") + "|" +
                       request.find_header("Host").value_or("absent") + "|" +
                       request.find_header("Accept").value_or("absent"));
  });
  EXPECT_TRUE(ends_with_body(UnixClient(dir / "s").ask(post("/", "", "Content-Type: a/b\r\n")),
                             "a/b||absent"));
}

TEST_F(ServerTest, AnswersPipelinedRequestsInOrder) {
  serve_echo();
  UnixClient client(dir / "s");
  std::string all;
  for (int i = 0; i < 50; ++i)
    all += post("/" + std::to_string(i), std::string(static_cast<size_t>(i * 37), 'x'));
  client.say(all);
  for (int i = 0; i < 50; ++i)
    EXPECT_TRUE(ends_with_body(client.hear(), "POST /" + std::to_string(i) + " " +
                                                  std::string(static_cast<size_t>(i * 37), 'x')));
}

TEST_F(ServerTest, TakesARequestInAnyPieces) {
  serve_echo();
  std::mt19937 random(7);
  for (int round = 0; round < 20; ++round) {
    UnixClient client(dir / "s");
    const std::string bytes =
        post("/pieces", std::string(300, 'p')) +
        "POST /chunks HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n7;x=y\r\n, "
        "world\r\n0\r\nTrailer: t\r\n\r\n";
    for (size_t at = 0; at < bytes.size();) {
      const size_t size = std::min<size_t>(bytes.size() - at, 1 + random() % 40);
      ASSERT_TRUE(client.say(std::string_view(bytes).substr(at, size)));
      at += size;
    }
    EXPECT_TRUE(ends_with_body(client.hear(), "POST /pieces " + std::string(300, 'p')));
    EXPECT_TRUE(ends_with_body(client.hear(), "POST /chunks hello, world"));
  }
}

TEST_F(ServerTest, ConnectionWithoutAByteIsNothingSpecial) {
  std::atomic<int> calls{0};
  serve([&](const Request&, Responder& responder) {
    ++calls;
    responder.send(200, "text/plain", "");
  });
  for (int i = 0; i < 20; ++i) UnixClient(dir / "s").close();
  EXPECT_TRUE(eventually([&] { return server->connections() == 0; }));
  EXPECT_EQ(calls, 0);
  EXPECT_TRUE(UnixClient(dir / "s").ask(post("/", "")).starts_with("HTTP/1.1 200"));
}

TEST_F(ServerTest, RequestThatIsNeverFinishedCallsNobody) {
  std::atomic<int> calls{0};
  serve([&](const Request&, Responder& responder) {
    ++calls;
    responder.send(200, "text/plain", "");
  });
  {
    UnixClient client(dir / "s");
    client.say("POST /VolumeDriver.Remove HTTP/1.1\r\nContent-Length: 20\r\n\r\n{\"Name\":");
  }
  EXPECT_TRUE(eventually([&] { return server->connections() == 0; }));
  EXPECT_EQ(calls, 0);
}

TEST_F(ServerTest, RefusesGarbageAndGoesOn) {
  serve_echo();
  EXPECT_TRUE(UnixClient(dir / "s")
                  .ask("\x16\x03\x01 garbage\r\n\r\n")
                  .starts_with("HTTP/1.1 400 Bad Request\r\n"));
  EXPECT_TRUE(UnixClient(dir / "s")
                  .ask("POST / HTTP/1.1\r\nContent-Length: minus\r\n\r\n")
                  .starts_with("HTTP/1.1 400"));
  EXPECT_TRUE(UnixClient(dir / "s")
                  .ask("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")
                  .starts_with("HTTP/1.1 400"));
  EXPECT_TRUE(UnixClient(dir / "s")
                  .ask("POST / HTTP/1.1\r\nX: " + std::string(100'000, 'x') + "\r\n\r\n")
                  .starts_with("HTTP/1.1 431"));
  std::mt19937 random(11);
  for (int i = 0; i < 50; ++i) {
    std::string noise(random() % 3000, '\0');
    for (char& c : noise) c = static_cast<char>(random());
    UnixClient client(dir / "s");
    client.say(noise);
    client.end_writing();
    client.hear_all();
  }
  EXPECT_TRUE(
      ends_with_body(UnixClient(dir / "s").ask(post("/", "still here")), "POST / still here"));
}

TEST_F(ServerTest, RefusesABodyOverTheLimitWithoutCallingTheHandler) {
  serve_echo([](ServerOptions& options) { options.max_body_bytes = 1000; });
  EXPECT_TRUE(ends_with_body(UnixClient(dir / "s").ask(post("/", std::string(1000, 'x'))),
                             "POST / " + std::string(1000, 'x')));
  const std::string refused = UnixClient(dir / "s").ask(post("/", std::string(300'000, 'x')));
  EXPECT_TRUE(refused.starts_with("HTTP/1.1 413")) << refused;
  EXPECT_NE(refused.find("1000 bytes"), std::string::npos);
  UnixClient chunked(dir / "s");
  chunked.say("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n");
  for (int i = 0; i < 11; ++i) chunked.say("64\r\n" + std::string(100, 'x') + "\r\n");
  EXPECT_TRUE(chunked.hear().starts_with("HTTP/1.1 413"));
}

TEST_F(ServerTest, HalfSentRequestHasADeadlineAndAnIdleConnectionHasNone) {
  serve_echo(
      [](ServerOptions& options) { options.request_deadline = std::chrono::milliseconds(50); });
  UnixClient idle(dir / "s");
  UnixClient half(dir / "s");
  half.say("POST / HTTP/1.1\r\nConte");
  EXPECT_TRUE(half.hear().starts_with("HTTP/1.1 408"));
  EXPECT_TRUE(half.is_closed());
  EXPECT_TRUE(ends_with_body(idle.ask(post("/", "late")), "POST / late"));
}

TEST_F(ServerTest, SaysContinueToThoseWhoAsk) {
  serve_echo();
  UnixClient client(dir / "s");
  client.say("POST / HTTP/1.1\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n");
  EXPECT_EQ(client.hear(), "HTTP/1.1 100 Continue\r\n\r\n");
  EXPECT_TRUE(ends_with_body(client.ask("body"), "POST / body"));
}

TEST_F(ServerTest, ClosesWhereTheClientWantsIt) {
  serve_echo();
  for (const char* request : {"POST / HTTP/1.1\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
                              "POST / HTTP/1.0\r\nContent-Length: 0\r\n\r\n"}) {
    UnixClient client(dir / "s");
    client.say(request);
    EXPECT_TRUE(ends_with_body(client.hear_all(), "POST / ")) << request;
  }
}

TEST_F(ServerTest, StreamsChunksAsTheyAreWritten) {
  std::latch first_seen(1);
  serve([&](const Request&, Responder& responder) {
    responder.begin_stream(200, "application/x-ndjson");
    responder.write("{\"n\":1}\n");
    first_seen.wait();
    responder.write("");
    responder.write("{\"n\":2}\n");
  });
  UnixClient client(dir / "s");
  client.say(post("/", ""));
  char seen[4096];
  std::string heard;
  while (heard.find("{\"n\":1}\n") == std::string::npos) {
    const ssize_t got = ::recv(client.fd(), seen, sizeof seen, 0);
    ASSERT_GT(got, 0);
    heard.append(seen, static_cast<size_t>(got));
  }
  first_seen.count_down();
  while (heard.find("\r\n0\r\n\r\n") == std::string::npos) {
    const ssize_t got = ::recv(client.fd(), seen, sizeof seen, 0);
    ASSERT_GT(got, 0);
    heard.append(seen, static_cast<size_t>(got));
  }
  EXPECT_TRUE(ends_with_body(heard, "8\r\n{\"n\":1}\n\r\n8\r\n{\"n\":2}\n\r\n0\r\n\r\n")) << heard;
  // A client of HTTP/1.0 knows no chunks.
  UnixClient old(dir / "s");
  old.say("GET / HTTP/1.0\r\n\r\n");
  EXPECT_TRUE(ends_with_body(old.hear_all(), "{\"n\":1}\n{\"n\":2}\n"));
}

TEST_F(ServerTest, BrokenStreamIsSeenAsBroken) {
  serve([](const Request&, Responder& responder) {
    responder.begin_stream(200, "text/plain");
    responder.write("half");
    throw base::Error("planted");
  });
  UnixClient client(dir / "s");
  client.say(post("/", ""));
  const std::string heard = client.hear_all();
  EXPECT_TRUE(heard.ends_with("4\r\nhalf\r\n")) << heard;
}

TEST_F(ServerTest, WritingToAClientThatIsGoneCancels) {
  std::atomic<bool> cancelled{false}, stopped{false};
  serve([&](const Request& request, Responder& responder) {
    responder.begin_stream(200, "text/plain");
    try {
      for (;;) responder.write("tick\n");
    } catch (const base::Cancelled&) {
      cancelled = true;
      stopped = eventually([&] { return request.stop.stop_requested(); });
      throw;
    }
  });
  {
    UnixClient client(dir / "s");
    client.say(post("/", ""));
    char first;
    ASSERT_EQ(::recv(client.fd(), &first, 1, 0), 1);
  }
  EXPECT_TRUE(eventually([&] { return cancelled && stopped; }));
  EXPECT_TRUE(eventually([&] { return server->connections() == 0; }));
}

TEST_F(ServerTest, ClientThatReadsNothingIsGivenUp) {
  std::atomic<bool> cancelled{false};
  serve(
      [&](const Request&, Responder& responder) {
        responder.begin_stream(200, "text/plain");
        try {
          for (;;) responder.write(std::string(100'000, 'x'));
        } catch (const base::Cancelled&) {
          cancelled = true;
          throw;
        }
      },
      [](ServerOptions& options) { options.send_deadline = std::chrono::milliseconds(50); });
  UnixClient client(dir / "s");
  client.say(post("/", ""));
  EXPECT_TRUE(eventually([&] { return cancelled.load(); }));
}

TEST_F(ServerTest, HandlerLearnsThatTheClientHungUp) {
  std::atomic<bool> waiting{false}, stopped{false};
  serve([&](const Request& request, Responder& responder) {
    waiting = true;
    stopped = eventually([&] { return request.stop.stop_requested(); });
    responder.send(200, "text/plain", "too late");
  });
  UnixClient client(dir / "s");
  client.say(post("/", ""));
  ASSERT_TRUE(eventually([&] { return waiting.load(); }));
  EXPECT_FALSE(stopped);
  client.close();
  EXPECT_TRUE(eventually([&] { return stopped.load(); }));
}

TEST_F(ServerTest, HalfClosedClientStillGetsItsAnswer) {
  serve_echo();
  UnixClient client(dir / "s");
  client.say(post("/", "last words"));
  client.end_writing();
  EXPECT_TRUE(ends_with_body(client.hear_all(), "POST / last words"));
}

TEST_F(ServerTest, FailingHandlersDoNotHurt) {
  serve([](const Request& request, Responder& responder) {
    if (request.target == "/throw") throw base::Error("a sentence");
    if (request.target == "/cancel") throw base::Cancelled();
    if (request.target == "/hang-up") return responder.hang_up();
    if (request.target == "/forget") return;
    responder.send(204, "text/plain", "");
  });
  UnixClient client(dir / "s");
  const std::string answer = client.ask(post("/throw", ""));
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 500 Internal Server Error\r\n") &&
              ends_with_body(answer, "a sentence\n"))
      << answer;
  EXPECT_TRUE(client.ask(post("/", "")).starts_with("HTTP/1.1 204"));  // the connection lived on
  for (const char* target : {"/cancel", "/hang-up", "/forget"}) {
    UnixClient other(dir / "s");
    other.say(post(target, ""));
    EXPECT_TRUE(other.is_closed()) << target;
  }
}

TEST_F(ServerTest, HundredClientsAtOnce) {
  serve_echo();
  std::atomic<int> right{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 100; ++t)
    threads.emplace_back([&, t] {
      UnixClient client(dir / "s");
      for (int i = 0; i < 20; ++i) {
        const std::string body = std::to_string(t) + "/" + std::to_string(i) +
                                 std::string(static_cast<size_t>(t) * 50, '.');
        right += ends_with_body(client.ask(post("/c", body)), "POST /c " + body);
      }
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(right, 2000);
  EXPECT_TRUE(eventually([&] { return server->connections() == 0; }));
}

TEST_F(ServerTest, MoreClientsThanAllowedWaitTheirTurn) {
  std::atomic<int> now{0}, most{0};
  serve(
      [&](const Request&, Responder& responder) {
        const int here = ++now;
        for (int seen = most; seen < here && !most.compare_exchange_weak(seen, here);) {
        }
        ::poll(nullptr, 0, 1);
        --now;
        responder.send(200, "text/plain", "");
      },
      [](ServerOptions& options) { options.max_connections = 4; });
  std::atomic<int> right{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 30; ++t)
    threads.emplace_back(
        [&] { right += UnixClient(dir / "s").ask(post("/", "")).starts_with("HTTP/1.1 200"); });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(right, 30);
  EXPECT_LE(most, 4);
}

TEST_F(ServerTest, StopClosesTheIdleLetsTheBusyAnswerAndRemovesItsSocket) {
  std::atomic<bool> running{false};
  serve([&](const Request& request, Responder& responder) {
    running = true;
    eventually([&] { return request.stop.stop_requested(); });
    responder.send(200, "text/plain", "I was asked to stop");
  });
  UnixClient idle(dir / "s"), half(dir / "s"), busy(dir / "s");
  half.say("POST / HT");
  busy.say(post("/", ""));
  ASSERT_TRUE(eventually([&] { return running && server->connections() == 3; }));
  EXPECT_TRUE(server->stop(std::chrono::seconds(30)));
  EXPECT_TRUE(ends_with_body(busy.hear(), "I was asked to stop"));
  EXPECT_TRUE(busy.is_closed());
  EXPECT_TRUE(idle.is_closed());
  EXPECT_TRUE(base::list_directory(dir.path()).empty());
  EXPECT_TRUE(server->stop(std::chrono::seconds(30)));
  EXPECT_THROW(UnixClient(dir / "s"), base::IoError);
}

TEST_F(ServerTest, StopDoesNotWaitForHandlersThatDoNotListen) {
  std::latch may_end(1);
  std::atomic<bool> running{false};
  serve([&](const Request&, Responder& responder) {
    running = true;
    may_end.wait();
    responder.send(200, "text/plain", "");
  });
  UnixClient client(dir / "s");
  client.say(post("/", ""));
  ASSERT_TRUE(eventually([&] { return running.load(); }));
  EXPECT_FALSE(server->stop(std::chrono::milliseconds(20)));
  EXPECT_TRUE(client.is_closed());
  may_end.count_down();
  EXPECT_TRUE(server->stop(std::chrono::seconds(30)));
}

TEST_F(ServerTest, StopsInTheMidstOfEverything) {
  for (int round = 0; round < 20; ++round) {
    serve_echo();
    std::atomic<bool> over{false};
    std::vector<std::thread> threads;
    for (int t = 0; t < 6; ++t)
      threads.emplace_back([&] {
        while (!over) {
          try {
            UnixClient client(dir / "s");
            while (client.ask(post("/", "x")).starts_with("HTTP/1.1 200")) {
            }
          } catch (const base::IoError&) {
          }
        }
      });
    eventually([&] { return server->connections() >= 3; });
    EXPECT_TRUE(server->stop(std::chrono::seconds(30)));
    over = true;
    for (std::thread& thread : threads) thread.join();
    server.reset();
  }
}

TEST_F(ServerTest, NewServerTakesOverAtOnce) {
  serve_echo();
  EXPECT_THROW(Server({.path = dir / "s"}, [](const Request&, Responder&) {}), base::Conflict);
  server.reset();
  serve_echo();
  EXPECT_TRUE(ends_with_body(UnixClient(dir / "s").ask(post("/", "again")), "POST / again"));
}

}  // namespace
}  // namespace davit::http
