// The S3 store in front of a server that does what no real one does when it is asked to.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "base/errors.h"
#include "store/s3_store.h"
#include "stop_contract.h"
#include "support/raw_server.h"

namespace davit::store {
namespace {

using namespace std::chrono_literals;
using base::IoError;
using test::RawServer;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using Connection = RawServer::Connection;
using Request = RawServer::Request;

constexpr const char *kSecret = "hunter2-secret", *kToken = "hunter2-token";

S3Store store_at(const RawServer& server, S3Options options = {}) {
  options.credentials = [] { return s3::Credentials{"KEY", kSecret, kToken}; };
  return S3Store(s3::parse_address("s3:" + server.url("/bucket/p")), std::move(options));
}

std::string error_page(const std::string& code, const std::string& more = "") {
  return "<?xml version=\"1.0\"?><Error><Code>" + code +
         "</Code><Message>the server's words</Message>" + more + "</Error>";
}

// Every request gets this answer.
RawServer::Handler always(int status, std::string body, std::string headers = "") {
  return [=](Connection& connection) {
    for (Request request; connection.read(request);)
      if (request.line.starts_with("HEAD ")) {
        connection.write("HTTP/1.1 " + std::to_string(status) + " X\r\nContent-Length: 0\r\n" +
                         headers + "\r\n");
      } else {
        connection.answer(status, body, headers);
      }
  };
}

const Name kFile{Kind::index, {}};

IoError failure(const RawServer& server, S3Options options = {}) {
  S3Store store = store_at(server, std::move(options));
  try {
    store.get(kFile, 100);
  } catch (const IoError& error) {
    EXPECT_THAT(error.what(),
                AllOf(HasSubstr("cannot read index/0000"), HasSubstr("s3:http://127.0.0.1:")));
    EXPECT_THAT(error.what(), Not(HasSubstr("hunter2")));
    return error;
  }
  throw std::runtime_error("no IoError");
}

TEST(S3Store, SaysWhatToDoAboutEachRefusal) {
  struct Row {
    int status;
    std::string code;
    bool transient;
    std::string words;
  };
  for (const Row& row : std::initializer_list<Row>{
           {403, "InvalidAccessKeyId", false, "AWS_ACCESS_KEY_ID"},
           {403, "SignatureDoesNotMatch", false, "AWS_SECRET_ACCESS_KEY"},
           {403, "AccessDenied", false, "s3:PutObject"},
           {400, "ExpiredToken", false, "AWS_SESSION_TOKEN"},
           {403, "RequestTimeTooSkewed", false, "set this machine's clock"},
           {404, "NoSuchBucket", false, "there is no bucket bucket"},
           {403, "InvalidObjectState", false, "archive class"},
           {400, "AuthorizationHeaderMalformed", false, "the server's words"},
           {301, "PermanentRedirect", false, "at another host"},
           {403, "QuotaExceeded", false, "no more room"},
           {507, "XMinioStorageFull", false, "no more room"},
           {400, "InvalidRequest", false, "the server's words (400 InvalidRequest)"},
           {503, "SlowDown", true, "503 SlowDown"},
           {500, "InternalError", true, "500 InternalError"},
           {429, "TooManyRequests", true, "429"},
           {400, "RequestTimeout", true, "RequestTimeout"},
           {400, "BadDigest", true, "BadDigest"},
           {409, "OperationAborted", true, "OperationAborted"}}) {
    const RawServer server(always(row.status, error_page(row.code)));
    const IoError error = failure(server);
    EXPECT_EQ(error.transient(), row.transient) << row.code;
    EXPECT_THAT(error.what(), HasSubstr(row.words));
    // Absence is told only by the server that says so in its own words.
    EXPECT_THROW(store_at(server).find_size(kFile), IoError) << row.code;
  }
  EXPECT_EQ(failure(RawServer(always(403, error_page("QuotaExceeded")))).number(), ENOSPC);
  EXPECT_TRUE(failure(RawServer(always(502, "<html>Bad gateway</html>"))).transient());
  EXPECT_THAT(failure(RawServer(always(404, "<html>no such page</html>"))).what(),
              HasSubstr("(404)"));
  const RawServer absent(always(404, error_page("NoSuchKey")));
  EXPECT_THROW(store_at(absent).get(kFile, 100), base::NotFound);
  EXPECT_EQ(store_at(absent).find_size(kFile), std::nullopt);
  EXPECT_NO_THROW(store_at(absent).remove(kFile));
}

TEST(S3Store, LearnsTheRegionFromTheServer) {
  const std::string refusal =
      error_page("AuthorizationHeaderMalformed", "<Region>eu-west-9</Region>");
  std::atomic<int> wrong{0};
  const RawServer server([&](Connection& connection) {
    for (Request request; connection.read(request);)
      if (request.head.find("/eu-west-9/s3/aws4_request") != std::string::npos) {
        connection.answer(200, "x");
      } else {
        ++wrong;
        connection.answer(400, refusal);
      }
  });
  S3Store store = store_at(server);
  EXPECT_EQ(store.get(kFile, 100).size(), 1u);
  EXPECT_NO_THROW(store.put(kFile, base::as_bytes("abc")));
  EXPECT_EQ(wrong, 1);
  // One that was named is not changed: it may be meant.
  S3Options named;
  named.region = "eu-west-1";
  EXPECT_THAT(
      failure(server, named).what(),
      HasSubstr("in the region eu-west-9, not in eu-west-1: set AWS_DEFAULT_REGION=eu-west-9"));
}

TEST(S3Store, SendsTheTokenAndChecksumsAndNoSecret) {
  base::Synchronized<std::string> seen;
  const RawServer server([&](Connection& connection) {
    for (Request request; connection.read(request);) {
      *seen.lock() += request.line + "\n" + request.head + request.body + "\n";
      connection.answer(200, "");
    }
  });
  store_at(server).put(kFile, base::as_bytes("content"));
  const std::string text = *seen.lock();
  EXPECT_THAT(text, HasSubstr("PUT /bucket/p/index/0000"));
  EXPECT_THAT(text, HasSubstr("x-amz-security-token: hunter2-token\n"));
  EXPECT_THAT(text,
              HasSubstr("x-amz-content-sha256: "
                        "ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73\n"));
  EXPECT_THAT(text, HasSubstr("Content-Length: 7\n"));
  EXPECT_THAT(text, Not(HasSubstr(kSecret)));
}

TEST(S3Store, TakesRangesFromAServerThatSendsMore) {
  for (const bool whole : {false, true}) {
    const RawServer server([&](Connection& connection) {
      for (Request request; connection.read(request);)
        if (whole)
          connection.answer(200, "0123456789");
        else
          connection.answer(206, "3456", "Content-Range: bytes 3-6/10\r\n");
    });
    base::Bytes out(3);
    store_at(server).get_range(kFile, 4, out);
    EXPECT_EQ(base::as_text(out), "456") << whole;
    base::Bytes more(8);
    EXPECT_THROW(store_at(server).get_range(kFile, 4, more), base::Corrupt);
  }
}

// Whatever is cut is no file, and no list.
TEST(S3Store, TakesNothingThatWasCutOff) {
  const std::string list = "<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>";
  const std::string answer =
      "HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(list.size()) + "\r\n\r\n" + list;
  for (size_t length = 0; length < answer.size(); length += 7) {
    const RawServer server([&](Connection& connection) {
      Request request;
      if (connection.read(request)) connection.write(answer.substr(0, length));
    });
    S3Store store = store_at(server);
    EXPECT_TRUE(failure(server).transient()) << length;
    base::Bytes out(20);
    EXPECT_THROW(store.get_range(kFile, 0, out), IoError);
    EXPECT_THROW(store.list(Kind::data, [](const FileInfo&) {}), IoError);
  }
}

TEST(S3Store, NoticesAServerThatHangs) {
  const RawServer server([](Connection& connection) {
    Request request;
    if (connection.read(request)) connection.wait_for_end();
  });
  S3Options options;
  options.deadlines.idle = 50ms;
  EXPECT_TRUE(failure(server, options).transient());
}

TEST(S3Store, EndsWhereTheCallerIsToldTo) {
  expect_ends_where_told_to([](const RawServer& server) { return store_at(server); });
}

TEST(S3Store, TakesNoFileWithoutASizeForAnAbsentOne) {
  const RawServer server([](Connection& connection) {
    for (Request request; connection.read(request);)
      connection.write(request.line.starts_with("HEAD ")
                           ? "HTTP/1.1 403 X\r\nContent-Length: 0\r\n\r\n"
                           : "HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n"
                             "1\r\nx\r\n0\r\n\r\n");
  });
  EXPECT_THROW(store_at(server).find_size(kFile), IoError);
}

TEST(S3Store, ListsPageByPageAndNotForEver) {
  const auto key = [](unsigned first) {
    Name name{Kind::data, {}};
    name.id.bytes[0] = static_cast<uint8_t>(first);
    return "p/data/" + name.id.hex().substr(0, 2) + "/" + name.id.hex();
  };
  bool forever = false;
  const RawServer server([&](Connection& connection) {
    for (Request request; connection.read(request);) {
      const size_t at = request.line.find("continuation-token=t%2B");
      const unsigned page = at == std::string::npos
                                ? 0
                                : static_cast<unsigned>(std::atoi(request.line.c_str() + at + 23));
      std::string body = "<ListBucketResult>";
      // Pages of any length, empty ones among them, and much that is no file of a repository.
      for (unsigned i = 0; i < page % 3; ++i)
        body += "<Contents><Key>" + key(page * 3 + i) + "</Key><Size>" + std::to_string(page) +
                "</Size></Contents>";
      for (const std::string& other :
           {std::string("p/data/"), key(1) + "-tmp", "p/data/02/" + key(1).substr(10),
            "q/" + key(1), "p/data/x/" + key(1).substr(7)})
        body += "<Contents><Key>" + other + "</Key><Size>1</Size></Contents>";
      const unsigned next = forever ? 1 : page + 1;
      body += page == 9 ? "<IsTruncated>false</IsTruncated>"
                        : "<IsTruncated>true</IsTruncated><NextContinuationToken>t+" +
                              std::to_string(next) + "</NextContinuationToken>";
      connection.answer(200, body + "</ListBucketResult>");
    }
  });
  std::map<unsigned, uint64_t> found;
  store_at(server).list(Kind::data,
                        [&](const FileInfo& file) { found[file.id.bytes[0]] = file.size_bytes; });
  const std::map<unsigned, uint64_t> expected{{3, 1},  {6, 2},  {7, 2},  {12, 4}, {15, 5},
                                              {16, 5}, {21, 7}, {24, 8}, {25, 8}};
  EXPECT_EQ(found, expected);
  forever = true;
  EXPECT_THROW(store_at(server).list(Kind::data, [](const FileInfo&) {}), IoError);
}

TEST(S3Store, MakesNoSecondRepositoryInOnePlace) {
  std::string there = "theirs";
  bool knows_conditions = true;
  const RawServer server([&](Connection& connection) {
    for (Request request; connection.read(request);) {
      const bool conditional = request.head.find("if-none-match: *") != std::string::npos;
      if (request.line.starts_with("HEAD "))
        connection.write("HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(there.size()) +
                         "\r\n\r\n");
      else if (request.line.starts_with("GET "))
        connection.answer(200, there);
      else if (!conditional)
        connection.answer(200, "");
      else if (knows_conditions)
        connection.answer(412, error_page("PreconditionFailed"));
      else
        connection.answer(501, error_page("NotImplemented"));
    }
  });
  S3Store store = store_at(server);
  EXPECT_THROW(store.put(Name{}, base::as_bytes("our")), base::Conflict);
  EXPECT_THROW(store.put(Name{}, base::as_bytes("ours!!")), base::Conflict);
  EXPECT_NO_THROW(store.put(Name{}, base::as_bytes("theirs")));
  EXPECT_NO_THROW(store.put(kFile, base::as_bytes("x")));
  knows_conditions = false;
  EXPECT_NO_THROW(store.put(Name{}, base::as_bytes("ours!!")));
}

TEST(S3Store, TellsWhatAConnectionFailsOf) {
  S3Options options;
  options.credentials = [] { return s3::Credentials{"KEY", kSecret, ""}; };
  const auto words = [&](const std::string& url) -> std::string {
    try {
      S3Store(s3::parse_address(url), options).get(kFile, 1);
    } catch (const IoError& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_THAT(words("s3:http://127.0.0.1:1/bucket"),
              HasSubstr("does the server run, and is the port right?"));
  EXPECT_THAT(words("s3:http://nowhere.invalid/bucket"), HasSubstr("nowhere.invalid"));
  const RawServer plain([](Connection& connection) { connection.write("HTTP/1.1 400 X\r\n\r\n"); });
  EXPECT_THAT(words("s3:https://127.0.0.1:" + std::to_string(plain.port()) + "/bucket"),
              HasSubstr("s3:http://"));
  options.credentials = {};
  EXPECT_THROW(words("s3:http://127.0.0.1:1/bucket"), base::UsageError);
}

}  // namespace
}  // namespace davit::store
