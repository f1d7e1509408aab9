#include "wire/http_client.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <thread>

#include "base/errors.h"
#include "support/raw_server.h"
#include "support/skip.h"
#include "support/temp_dir.h"

namespace davit::wire {
namespace {

using namespace std::chrono_literals;
using base::IoError;
using test::RawServer;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
using Connection = RawServer::Connection;
using Request = RawServer::Request;

// Every request of every connection gets the same bytes, then the connection is closed.
RawServer::Handler saying(std::string bytes) {
  return [bytes](Connection& connection) {
    Request request;
    if (connection.read(request)) connection.write(bytes);
  };
}
// What was asked, as the answer's body; connections stay open.
void echo(Connection& connection) {
  for (Request request; connection.read(request);)
    connection.answer(200, request.line + "\n" + request.head + "\n" + request.body);
}

HttpRequest get(const std::string& url) {
  HttpRequest request;
  request.url = url;
  return request;
}
// The IoError that a request ends with.
IoError failure(const HttpRequest& request) {
  HttpClient client;
  try {
    client.send(request);
  } catch (const IoError& error) {
    return error;
  }
  throw std::runtime_error("no IoError");
}

TEST(HttpClient, AsksAndAnswers) {
  RawServer server(
      saying("HTTP/1.1 404 Not Found\r\nX-Thing:  a b \r\nContent-Length: 4\r\n\r\nnope"));
  HttpClient client;
  const HttpResponse response = client.send(get(server.url("/x")));
  EXPECT_EQ(response.status, 404);
  EXPECT_FALSE(response.ok());
  EXPECT_EQ(response.body, "nope");
  EXPECT_EQ(response.find_header("x-thing"), "a b");
  EXPECT_FALSE(response.find_header("x-other"));
}

TEST(HttpClient, SendsMethodHeadersAndBody) {
  RawServer server(echo);
  HttpClient client("davit/1");
  HttpRequest request = get(server.url("/a?b=c"));
  for (const char* method : {"GET", "POST", "PUT", "DELETE", "PATCH"}) {
    request.method = method;
    request.headers = {{"X-One", "1"}, {"X-Empty", ""}};
    request.body = method == std::string("GET") ? "" : "the body";
    const std::string answer = client.send(request).body;
    EXPECT_THAT(answer, HasSubstr(std::string(method) + " /a?b=c HTTP/1.1\n"));
    EXPECT_THAT(answer, AllOf(HasSubstr("X-One: 1\n"), HasSubstr("X-Empty:"),
                              HasSubstr("User-Agent: davit/1\n")));
    EXPECT_THAT(answer, Not(HasSubstr("Expect")));
    if (!request.body.empty()) {
      EXPECT_THAT(answer, AllOf(HasSubstr("Content-Length: 8\n"), HasSubstr("\n\nthe body")));
    }
  }
  request.method = "POST";
  request.body.clear();
  EXPECT_THAT(client.send(request).body, HasSubstr("Content-Length: 0"));
  EXPECT_EQ(server.connections(), 1) << "the connection is used again";
}

TEST(HttpClient, HeadersCannotBeSmuggled) {
  RawServer server(echo);
  HttpClient client;
  HttpRequest request = get(server.url("/"));
  request.headers = {{"X", "a\r\nY: b"}};
  EXPECT_THROW(client.send(request), base::UsageError);
}

TEST(HttpClient, SpeaksThroughAUnixSocketWithoutAnyProxy) {
  test::TempDir directory;
  RawServer server(echo, directory / "s");
  ::setenv("http_proxy", "http://127.0.0.1:1", 1);
  HttpRequest request = get("http://engine/_ping");
  request.unix_socket = directory / "s";
  HttpClient client;
  EXPECT_THAT(client.send(request).body,
              AllOf(HasSubstr("GET /_ping"), HasSubstr("Host: engine\n")));
  ::unsetenv("http_proxy");
}

TEST(HttpClient, ReadsChunksAndBodiesThatEndWithTheConnection) {
  RawServer chunked(saying(
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"));
  RawServer closing(saying("HTTP/1.1 200 OK\r\n\r\nabcde"));
  RawServer continuing(saying(
      "HTTP/1.1 100 Continue\r\nA: 1\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabcde"));
  HttpClient client;
  for (const RawServer* server : {&chunked, &closing, &continuing})
    EXPECT_EQ(client.send(get(server->url("/"))).body, "abcde");
  EXPECT_FALSE(client.send(get(continuing.url("/"))).find_header("a"));
}

TEST(HttpClient, AnAnswerCutInTheMiddleIsATransientError) {
  for (const char* cut : {"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",
                          "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
                          "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8\r\nabc",
                          "HTTP/1.1 200 OK\r\nContent-Le", ""}) {
    RawServer server(saying(cut));
    EXPECT_TRUE(failure(get(server.url("/"))).transient()) << cut;
  }
}

TEST(HttpClient, WhatIsNoHttpIsAnErrorForGood) {
  RawServer server(saying("SSH-2.0-OpenSSH\r\n\r\n"));
  EXPECT_FALSE(failure(get(server.url("/"))).transient());
}

TEST(HttpClient, StreamsAHugeAnswerWithoutKeepingIt) {
  constexpr size_t kParts = 4096, kPart = 64 << 10;  // 256 MiB
  RawServer server([](Connection& connection) {
    Request request;
    connection.read(request);
    connection.write("HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(kParts * kPart) +
                     "\r\n\r\n");
    const std::string part(kPart, 'x');
    for (size_t i = 0; i < kParts && connection.write(part); ++i) {
    }
  });
  HttpClient client;
  size_t bytes = 0;
  int heads = 0;
  const auto response = client.stream(
      get(server.url("/")), [&](base::ByteView part) { bytes += part.size(); },
      [&](const HttpResponse& head) {
        ++heads;
        EXPECT_EQ(head.status, 200);
        EXPECT_EQ(bytes, 0u);
      });
  EXPECT_EQ(bytes, kParts * kPart);
  EXPECT_EQ(heads, 1);
  EXPECT_TRUE(response.body.empty());
}

TEST(HttpClient, AnAnswerOverTheLimitIsRefused) {
  RawServer server(
      saying("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8\r\nabcdefgh\r\n0\r\n\r\n"));
  HttpRequest request = get(server.url("/"));
  request.max_body_bytes = 7;
  const IoError error = failure(request);
  EXPECT_FALSE(error.transient());
  EXPECT_THAT(error.what(), HasSubstr("the answer is larger than"));
  request.max_body_bytes = 8;
  EXPECT_EQ(HttpClient().send(request).body.size(), 8u);
  RawServer headers([](Connection& connection) {
    Request asked;
    connection.read(asked);
    connection.write("HTTP/1.1 200 OK\r\n");
    for (int i = 0; i < 100'000 && connection.write("X: " + std::string(1000, 'x') + "\r\n"); ++i) {
    }
  });
  EXPECT_THROW(HttpClient().send(get(headers.url("/"))), IoError);
}

TEST(HttpClient, ABodyOfAFailureIsShownNotStreamed) {
  RawServer server(saying("HTTP/1.1 500 Oh\r\nContent-Length: 4\r\n\r\noops"));
  HttpClient client;
  const auto response =
      client.stream(get(server.url("/")), [](base::ByteView) { FAIL() << "no part of a failure"; });
  EXPECT_EQ(response.status, 500);
  EXPECT_EQ(response.body, "oops");
}

TEST(HttpClient, StreamsABodyItMakesWhileSending) {
  RawServer server([](Connection& connection) {
    for (Request request; connection.read(request);)
      connection.answer(200, std::to_string(request.body.size()) + " " + request.head);
  });
  HttpClient client;
  for (const bool known : {false, true}) {
    HttpRequest request = get(server.url("/"));
    request.method = "PUT";
    size_t left = 50'000'000;
    request.body_source = BodySource{[&](std::span<uint8_t> out) {
                                       const size_t count = std::min(out.size(), left);
                                       std::fill_n(out.begin(), count, 'x');
                                       left -= count;
                                       return count;
                                     },
                                     known ? std::optional<uint64_t>(left) : std::nullopt,
                                     {}};
    const std::string answer = client.send(request).body;
    EXPECT_THAT(answer, HasSubstr("50000000 "));
    EXPECT_THAT(answer,
                HasSubstr(known ? "Content-Length: 50000000" : "Transfer-Encoding: chunked"));
  }
}

TEST(HttpClient, WhatACallbackThrowsComesOut) {
  RawServer server([](Connection& connection) {
    Request request;
    if (connection.read(request)) connection.answer(200, "abc");
  });
  HttpClient client;
  struct Mine {};
  EXPECT_THROW(client.stream(get(server.url("/")), [](base::ByteView) { throw Mine(); }), Mine);
  EXPECT_THROW(
      client.stream(
          get(server.url("/")), [](base::ByteView) {}, [](const HttpResponse&) { throw Mine(); }),
      Mine);
  HttpRequest request = get(server.url("/"));
  request.method = "PUT";
  request.body_source = BodySource{[](std::span<uint8_t>) -> size_t { throw Mine(); }, {}, {}};
  EXPECT_THROW(client.send(request), Mine);
  EXPECT_EQ(client.send(get(server.url("/"))).body, "abc") << "the client goes on";
}

TEST(HttpClient, AnOldConnectionThatDiedIsReplaced) {
  // Answers once, then closes at the second request without a word.
  RawServer server([](Connection& connection) {
    Request request;
    if (connection.read(request)) connection.answer(200, "ok");
    connection.read(request);
  });
  HttpClient client;
  HttpRequest request = get(server.url("/"));
  EXPECT_EQ(client.send(request).body, "ok");
  EXPECT_EQ(client.send(request).body, "ok");
  request.method = "PUT";
  request.body = "x";
  EXPECT_EQ(client.send(request).body, "ok");
}

TEST(HttpClient, DeadlinesEndASilentServer) {
  RawServer server([](Connection& connection) { connection.wait_for_end(); });
  HttpRequest request = get(server.url("/"));
  request.deadlines = {1s, 50ms, 0ms};
  const IoError idle = failure(request);
  EXPECT_TRUE(idle.transient());
  EXPECT_THAT(idle.what(), HasSubstr("no sign of life for 0.05 s"));
  request.deadlines = {1s, 0ms, 50ms};
  const IoError total = failure(request);
  EXPECT_TRUE(total.transient());
  EXPECT_EQ(total.number(), ETIMEDOUT);
  EXPECT_THAT(total.what(), HasSubstr("not done within 0.05 s"));
}

TEST(HttpClient, ASlowServerIsNotASilentOne) {
  // Bytes come one at a time, each well within the idle deadline, all of them well after it.
  RawServer server([](Connection& connection) {
    Request request;
    connection.read(request);
    connection.write("HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n");
    for (int i = 0; i < 20 && connection.write("x"); ++i) std::this_thread::sleep_for(80ms);
  });
  HttpRequest request = get(server.url("/"));
  request.deadlines.idle = 1500ms;
  EXPECT_EQ(HttpClient().send(request).body.size(), 20u);
}

TEST(HttpClient, StopsWhenAsked) {
  std::stop_source stop;
  RawServer server([&](Connection& connection) {
    Request request;
    connection.read(request);
    stop.request_stop();  // the client waits for the answer by now, or soon will
    connection.wait_for_end();
  });
  HttpClient client;
  HttpRequest request = get(server.url("/"));
  request.stop = stop.get_token();
  EXPECT_THROW(client.send(request), base::Cancelled);
  EXPECT_THROW(client.send(request), base::Cancelled) << "stopped before it began";
}

TEST(HttpClient, WaitsForTheAnswerWhereItHasAGrace) {
  std::stop_source stop;
  std::atomic<bool> answers{true};
  RawServer server([&](Connection& connection) {
    Request request;
    connection.read(request);
    stop.request_stop();
    if (answers) {
      // Time for who ends at the stop to end; who waits as it should passes however long this is.
      std::this_thread::sleep_for(50ms);
      connection.answer(200, "late");
    }
    connection.wait_for_end();
  });
  HttpRequest request = get(server.url("/"));
  request.stop = stop.get_token();
  request.grace = 60s;
  EXPECT_EQ(HttpClient().send(request).body, "late");
  stop = std::stop_source();
  answers = false;
  request.stop = stop.get_token();
  request.grace = 50ms;
  EXPECT_THROW(HttpClient().send(request), base::Cancelled);
}

TEST(HttpClient, WhereNobodyListens) {
  test::TempDir directory;
  HttpRequest request = get("http://engine/");
  request.unix_socket = directory / "none";
  const IoError absent = failure(request);
  EXPECT_TRUE(absent.transient());
  EXPECT_THAT(absent.what(), AllOf(HasSubstr(directory / "none"), HasSubstr("GET http://engine/")));
  EXPECT_TRUE(failure(get("http://127.0.0.1:1/")).transient());
}

TEST(HttpClient, TellsWhereTheServerMayBeAtItStill) {
  HttpClient client;
  for (const char* cut : {"", "HTTP/1.1 200 OK\r\nContent-Le", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"}) {
    RawServer server(saying(cut));
    EXPECT_THROW(client.send(get(server.url("/"))), NoAnswer) << cut;
  }
  RawServer silent([](Connection& connection) { connection.wait_for_end(); });
  HttpRequest request = get(silent.url("/"));
  request.deadlines = {1s, 50ms, 0ms};
  EXPECT_THROW(client.send(request), NoAnswer);
  request.deadlines = {1s, 0ms, 50ms};
  EXPECT_THROW(client.send(request), NoAnswer);
  try {
    client.send(get("http://127.0.0.1:1/"));
    ADD_FAILURE();
  } catch (const NoAnswer&) {
    ADD_FAILURE() << "nothing was sent";
  } catch (const IoError&) {
  }
}

// A TLS server whose certificate nobody has signed but itself; it ends with the guard.
class SelfSigned {
 public:
  explicit SelfSigned(const std::string& directory) {
    const std::string make =
        "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -keyout " +
        directory + "/key -out " + directory + "/cert >/dev/null 2>&1";
    if (std::system(make.c_str()) != 0) return;
    // Its standard input is our pipe: it ends when that does.
    const std::string serve = "exec openssl s_server -accept 127.0.0.1:0 -www -key " + directory +
                              "/key -cert " + directory + "/cert";
    int out[2], in[2];
    if (::pipe2(out, O_CLOEXEC) != 0 || ::pipe2(in, O_CLOEXEC) != 0) return;
    process_ = ::fork();
    if (process_ == 0) {
      ::dup2(in[0], 0);
      ::dup2(out[1], 1);
      ::execl("/bin/sh", "sh", "-c", serve.c_str(), nullptr);
      ::_exit(127);
    }
    ::close(out[1]);
    ::close(in[0]);
    std::string text;
    char part[256];
    for (ssize_t count; (count = ::read(out[0], part, sizeof part)) > 0;) {
      text.append(part, static_cast<size_t>(count));
      const size_t at = text.find("ACCEPT ");
      if (at == text.npos || text.find('\n', at) == text.npos) continue;
      port = std::atoi(text.c_str() + text.find_last_of(':', text.find('\n', at)) + 1);
      break;
    }
    ::close(out[0]);
    input_ = in[1];
  }
  ~SelfSigned() {
    if (process_ <= 0) return;
    ::close(input_);
    ::kill(process_, SIGTERM);
    ::waitpid(process_, nullptr, 0);
  }
  int port = 0;

 private:
  pid_t process_ = -1;
  int input_ = -1;
};

TEST(HttpClient, ACertificateThatNobodyVouchesForIsRefusedForGood) {
  test::TempDir directory;
  const SelfSigned server(directory.path());
  if (server.port == 0) DAVIT_SKIP("no openssl here");
  const IoError error = failure(get("https://127.0.0.1:" + std::to_string(server.port) + "/"));
  EXPECT_FALSE(error.transient()) << error.what();
  EXPECT_THAT(error.what(), HasSubstr("certificate"));
  const HttpRequest request = get("https://localhost:" + std::to_string(server.port) + "/");
  EXPECT_THROW(HttpClient().send(request), Untrusted);
  EXPECT_TRUE(HttpClient("davit", directory / "cert").send(request).ok());
}

TEST(HttpClient, WhatIsNoUrlIsRefused) {
  HttpClient client;
  for (const char* url : {"", "::", "ftp://127.0.0.1/", "file:///etc/passwd", "http://"})
    EXPECT_THROW(client.send(get(url)), base::UsageError) << url;
}

TEST(HttpClient, NoSecretIsInAnyMessage) {
  HttpRequest request = get("http://me:hunter2@127.0.0.1:1/path?signature=hunter2");
  EXPECT_THAT(failure(request).what(),
              AllOf(HasSubstr("http://***@127.0.0.1:1/path?***"), Not(HasSubstr("hunter2"))));
  try {
    HttpClient().send(get("gopher://me:hunter2@x/"));
    FAIL();
  } catch (const base::UsageError& error) {
    EXPECT_THAT(error.what(), Not(HasSubstr("hunter2")));
  }
  for (const char* proxy : {"gopher://me:hunter2@127.0.0.1:1", "http://me:hunter2@:x:y"}) {
    ::setenv("http_proxy", proxy, 1);
    EXPECT_THAT(failure(get("http://127.0.0.2:1/")).what(), Not(HasSubstr("hunter2"))) << proxy;
    ::unsetenv("http_proxy");
  }
  EXPECT_EQ(masked_url("https://hub.example:8000/a/b"), "https://hub.example:8000/a/b");
  EXPECT_EQ(masked_url("no url"), "(no URL)");
  EXPECT_EQ(masked_path_url("https://hc-ping.com/5f0a-uuid"), "https://hc-ping.com/…");
  EXPECT_EQ(masked_path_url("https://u:p@hc.example:80/x?y"), "https://hc.example:80/…");
}

TEST(HttpClient, ManyThreadsUseOneClient) {
  RawServer server(echo);
  HttpClient client;
  std::vector<std::thread> threads;
  std::atomic<int> good{0};
  for (int t = 0; t < 8; ++t)
    threads.emplace_back([&, t] {
      for (int i = 0; i < 25; ++i) {
        HttpRequest request = get(server.url("/" + std::to_string(t * 100 + i)));
        if (client.send(request).body.rfind("GET /" + std::to_string(t * 100 + i) + " ", 0) == 0)
          ++good;
      }
    });
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(good, 200);
  EXPECT_LE(server.connections(), 16);
}

TEST(PercentEncode, LeavesUnreservedCharactersAlone) {
  EXPECT_EQ(percent_encode("a-Z_0.~"), "a-Z_0.~");
  EXPECT_EQ(percent_encode("{\"volume\":[\"a/b ä\"]}"),
            "%7B%22volume%22%3A%5B%22a%2Fb%20%C3%A4%22%5D%7D");
}

}  // namespace
}  // namespace davit::wire
