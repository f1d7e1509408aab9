// The S3 store, tried again, in front of a server that has bad minutes.
#include <gtest/gtest.h>

#include "base/errors.h"
#include "base/patience.h"
#include "store/retry_store.h"
#include "store/s3_store.h"
#include "support/passing_time.h"
#include "support/raw_server.h"

namespace davit::store {
namespace {

using namespace std::chrono_literals;
using test::RawServer;
using Connection = RawServer::Connection;
using Request = RawServer::Request;

const Name kFile{Kind::index, {}};

std::string error_page(const std::string& code) {
  return "<?xml version=\"1.0\"?><Error><Code>" + code + "</Code></Error>";
}

RetryStore store_at(const RawServer& server, wire::Deadlines deadlines = {}) {
  S3Options options;
  options.credentials = [] { return s3::Credentials{"KEY", "secret", ""}; };
  options.deadlines = deadlines;
  return RetryStore(std::make_shared<S3Store>(s3::parse_address("s3:" + server.url("/bucket/p")),
                                              std::move(options)),
                    test::PassingTime::none());
}

TEST(S3Retried, OutlastsErrorsAndASlowDown) {
  std::atomic<int> requests{0};
  const RawServer server([&](Connection& connection) {
    for (Request request; connection.read(request);) switch (requests++) {
        case 0:
          connection.answer(503, error_page("SlowDown"));
          break;
        case 1:
          connection.answer(500, error_page("InternalError"));
          break;
        case 2:
          connection.answer(502, "<html>Bad gateway</html>");
          break;
        case 3:
          connection.answer(429, "");
          break;
        case 4:
          return;  // without an answer
        case 5:
          connection.write("HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\ncont");
          return;  // short
        case 6:
          connection.answer(400, error_page("RequestTimeout"));
          break;
        default:
          connection.answer(200, "content");
      }
  });
  RetryStore store = store_at(server);
  EXPECT_EQ(base::as_text(store.get(kFile, 100)), "content");
  EXPECT_EQ(requests, 8);
  requests = 0;
  store.put(kFile, base::as_bytes("content"));
  EXPECT_EQ(requests, 8);
}

TEST(S3Retried, DoesNotAskAgainWhatStaysRefused) {
  for (const auto& [status, code] :
       std::initializer_list<std::pair<int, const char*>>{{403, "RequestTimeTooSkewed"},
                                                          {403, "AccessDenied"},
                                                          {404, "NoSuchBucket"},
                                                          {403, "QuotaExceeded"},
                                                          {400, "ExpiredToken"}}) {
    std::atomic<int> requests{0};
    const RawServer server([&, status = status, code = code](Connection& connection) {
      for (Request request; connection.read(request);) {
        ++requests;
        connection.answer(status, error_page(code));
      }
    });
    RetryStore store = store_at(server);
    EXPECT_THROW(store.get(kFile, 100), base::IoError) << code;
    EXPECT_EQ(requests, 1) << code;
  }
}

// Where the first PUT of a config was done and its answer lost, the second one is refused by
// If-None-Match: it is ours all the same.
TEST(S3Retried, KnowsItsOwnConfigAgain) {
  std::atomic<int> puts{0};
  const RawServer server([&](Connection& connection) {
    for (Request request; connection.read(request);)
      if (request.line.starts_with("PUT ")) {
        if (puts++ == 0) return;
        connection.answer(412, error_page("PreconditionFailed"));
      } else if (request.line.starts_with("HEAD ")) {
        connection.write("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n");
      } else {
        connection.answer(200, "config");
      }
  });
  RetryStore store = store_at(server);
  EXPECT_NO_THROW(store.put(Name{}, base::as_bytes("config")));
  EXPECT_EQ(puts, 2);
}

TEST(S3Retried, LeavesAServerThatHangs) {
  std::atomic<int> requests{0};
  const RawServer server([&](Connection& connection) {
    for (Request request; connection.read(request);) {
      if (requests++ < 2) return connection.wait_for_end();
      connection.answer(200, "content");
    }
  });
  RetryStore store = store_at(server, {.connect = 10s, .idle = 30ms});
  EXPECT_EQ(base::as_text(store.get(kFile, 100)), "content");
  EXPECT_EQ(requests, 3);
}

}  // namespace
}  // namespace davit::store
