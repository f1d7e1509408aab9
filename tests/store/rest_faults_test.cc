// The REST store in front of servers that do what no real one does when it is asked to.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/errors.h"
#include "stop_contract.h"
#include "store/rest_store.h"
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

constexpr const char* kText = "Content-Type: text/plain; charset=utf-8\r\n";
constexpr const char* kList = "Content-Type: application/vnd.x.restic.rest.v2\r\n";
const Name kFile{Kind::index, {}};

RestStore store_at(const RawServer& server, RestOptions options = {}) {
  options.login = [] { return rest::Login{"me", "hunter2"}; };
  return RestStore(rest::parse_address("rest:" + server.url("/repo")), std::move(options));
}

// Every request gets this answer.
RawServer::Handler always(int status, std::string body, std::string headers = kText) {
  return [=](Connection& connection) {
    for (Request request; connection.read(request);)
      if (request.line.starts_with("HEAD ")) {
        connection.write("HTTP/1.1 " + std::to_string(status) + " X\r\nContent-Length: " +
                         std::to_string(body.size()) + "\r\n" + headers + "\r\n");
      } else {
        connection.answer(status, body, headers);
      }
  };
}

IoError failure(RestStore store, const std::function<void(Store&)>& call) {
  try {
    call(store);
  } catch (const IoError& error) {
    EXPECT_THAT(error.what(),
                AllOf(HasSubstr("rest:http://127.0.0.1:"), Not(HasSubstr("hunter2"))));
    return error;
  }
  ADD_FAILURE() << "no IoError";
  return IoError("none", 0);
}

IoError get_failure(const RawServer& server, RestOptions options = {}) {
  return failure(store_at(server, std::move(options)), [](Store& store) { store.get(kFile, 100); });
}

TEST(RestStore, SaysWhatToDoAboutEachRefusal) {
  struct Row {
    int status;
    bool transient;
    std::string words;
  };
  for (const Row& row : std::initializer_list<Row>{{401, false, "RESTIC_REST_USERNAME"},
                                                   {403, false, "does not let this user read"},
                                                   {400, false, "the server says: its words (400)"},
                                                   {405, false, "restic's REST protocol"},
                                                   {301, false, "(301)"},
                                                   {413, false, "no more room"},
                                                   {507, false, "no more room"},
                                                   {429, true, "(429)"},
                                                   {500, true, "its words (500)"},
                                                   {502, true, "(502)"},
                                                   {503, true, "(503)"},
                                                   {522, true, "(522)"}}) {
    const RawServer server(always(row.status, "its words\n"));
    const IoError error = get_failure(server);
    EXPECT_EQ(error.transient(), row.transient) << row.status;
    EXPECT_THAT(error.what(), HasSubstr(row.words));
    EXPECT_THROW(store_at(server).find_size(kFile), IoError) << row.status;
    EXPECT_THROW(store_at(server).remove(kFile), IoError) << row.status;
    EXPECT_THROW(store_at(server).put(kFile, base::as_bytes("x")), IoError) << row.status;
    EXPECT_THROW(store_at(server).list(Kind::data, [](const FileInfo&) {}), IoError) << row.status;
    EXPECT_THROW(store_at(server).prepare(), IoError) << row.status;
  }
  EXPECT_EQ(get_failure(RawServer(always(507, ""))).number(), ENOSPC);
  EXPECT_THAT(
      get_failure(RawServer(always(400, "<html>hunter3</html>", "Content-Type: text/html\r\n")))
          .what(),
      Not(HasSubstr("hunter3")));
}

// Else a proxy whose server is away would make an empty volume of a full one.
TEST(RestStore, BelievesAnAbsenceOnlyIfTheServerTellsIt) {
  const RawServer own(always(404, "Not Found\n"));
  EXPECT_THROW(store_at(own).get(kFile, 100), base::NotFound);
  EXPECT_EQ(store_at(own).find_size(kFile), std::nullopt);
  EXPECT_NO_THROW(store_at(own).remove(kFile));
  // Nothing to list where there is no config either.
  EXPECT_THROW(store_at(own).list(Kind::snapshot, [](const FileInfo&) {}), IoError);
  for (const auto& [body, headers] : std::vector<std::pair<std::string, std::string>>{
           {"<html>no such page</html>", "Content-Type: text/html\r\n"},
           {"404 page not found\n", kText},
           {"", ""}}) {
    const RawServer proxy(always(404, body, headers));
    EXPECT_THAT(get_failure(proxy).what(), HasSubstr("may be a proxy")) << body;
    EXPECT_THROW(store_at(proxy).find_size(kFile), IoError) << body;
    EXPECT_THROW(store_at(proxy).remove(kFile), IoError) << body;
    EXPECT_THROW(store_at(proxy).list(Kind::snapshot, [](const FileInfo&) {}), IoError) << body;
  }
}

void answer_head(Connection& connection, int status, size_t length, const std::string& headers) {
  connection.write("HTTP/1.1 " + std::to_string(status) +
                   " X\r\nContent-Length: " + std::to_string(length) + "\r\n" + headers + "\r\n");
}

// Else nobody would see the locks and snapshots of a repository whose disk is away for a moment.
TEST(RestStore, BelievesNoEmptyListingWhereThereIsAConfig) {
  std::atomic<bool> is_missing{false}, is_prepared{false};
  const RawServer server([&](Connection& connection) {
    for (Request request; connection.read(request);)
      if (request.line.starts_with("HEAD ")) {
        answer_head(connection, 200, 10, kText);
      } else if (request.line.starts_with("POST ")) {
        is_prepared = true;
        connection.answer(200, "");
      } else if (is_missing && is_prepared) {
        connection.answer(200, "[]", kList);
      } else {
        connection.answer(404, "Not Found\n", kText);
      }
  });
  const auto list = [](Store& store) { store.list(Kind::lock, [](const FileInfo&) {}); };
  const IoError error = failure(store_at(server), list);
  EXPECT_TRUE(error.transient());
  EXPECT_THAT(error.what(), HasSubstr("cannot list them now (404)"));
  EXPECT_TRUE(is_prepared);
  is_prepared = false;
  is_missing = true;
  RestStore store = store_at(server);
  EXPECT_NO_THROW(list(store));
}

// rclone before 1.66 says it of what it cannot look up, too.
TEST(RestStore, AsksRcloneTwiceWhatItDoesNotHave) {
  std::atomic<bool> is_listed{true};
  std::atomic<int> lists{0};
  const RawServer server([&](Connection& connection) {
    const std::string rclone = "Server: rclone/v1.60.1\r\n";
    for (Request request; connection.read(request);)
      if (request.line.starts_with("HEAD ")) {
        answer_head(connection, 404, 10, rclone + kText);
      } else if (request.line.starts_with("GET /repo/index/ ")) {
        ++lists;
        connection.answer(200,
                          is_listed ? "[{\"name\":\"" + kFile.id.hex() + "\",\"size\":7}]" : "[]",
                          rclone + kList);
      } else {
        connection.answer(404, "Not Found\n", rclone + kText);
      }
  });
  base::Bytes out(3);
  for (const std::function<void(Store&)>& call : std::vector<std::function<void(Store&)>>{
           [](Store& store) { store.get(kFile, 100); },
           [&](Store& store) { store.get_range(kFile, 0, out); },
           [](Store& store) { store.find_size(kFile); },
           [](Store& store) { store.remove(kFile); }}) {
    const IoError error = failure(store_at(server), call);
    EXPECT_TRUE(error.transient());
    EXPECT_THAT(error.what(), HasSubstr("cannot be reached now"));
  }
  is_listed = false;
  EXPECT_THROW(store_at(server).get(kFile, 100), base::NotFound);
  EXPECT_THROW(store_at(server).get_range(kFile, 0, out), base::NotFound);
  EXPECT_EQ(store_at(server).find_size(kFile), std::nullopt);
  EXPECT_NO_THROW(store_at(server).remove(kFile));
  EXPECT_EQ(lists, 8);
  EXPECT_EQ(store_at(server).find_size({}), std::nullopt);
  EXPECT_EQ(lists, 8);
}

TEST(RestStore, TakesNoFileWithoutASizeForAnAbsentOne) {
  const RawServer server([](Connection& connection) {
    for (Request request; connection.read(request);)
      if (request.line.starts_with("HEAD "))
        answer_head(connection, 404, 0, "");
      else
        connection.write("HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n");
  });
  EXPECT_THAT(failure(store_at(server), [](Store& store) { store.find_size(kFile); }).what(),
              HasSubstr("does not say its size"));
}

TEST(RestStore, SendsAgainWhatWasDamagedOnTheWay) {
  const RawServer server(always(400, "Bad Request\n"));
  const auto put = [](Store& store) { store.put(kFile, base::as_bytes("x")); };
  EXPECT_TRUE(failure(store_at(server), put).transient());
}

// rest-server writes a config in place and never again.
TEST(RestStore, ReplacesItsOwnConfigThatIsHalfThere) {
  const std::string ours = "a nonce of 16 bytes, and more";
  std::string there;
  const RawServer server([&](Connection& connection) {
    for (Request request; connection.read(request);)
      if (request.line.starts_with("HEAD ")) {
        answer_head(connection, 200, there.size(), kText);
      } else if (request.line.starts_with("GET ")) {
        connection.answer(200, there);
      } else if (request.line.starts_with("DELETE ")) {
        there.clear();
        connection.answer(200, "");
      } else if (there.empty()) {
        there = request.body;
        connection.answer(200, "");
      } else {
        connection.answer(403, "Forbidden\n", kText);
      }
  });
  RestStore store = store_at(server);
  for (const std::string& half : {ours, ours.substr(0, 16), ours.substr(0, ours.size() - 1)}) {
    there = half;
    EXPECT_NO_THROW(store.put(Name{}, base::as_bytes(ours))) << half;
    EXPECT_EQ(there, ours);
  }
  for (const std::string& theirs : {ours.substr(0, 15), "b" + ours.substr(1, 20), ours + "!"}) {
    there = theirs;
    EXPECT_THROW(store.put(Name{}, base::as_bytes(ours)), base::Conflict) << theirs;
    EXPECT_EQ(there, theirs);
  }
  there = ours.substr(0, 20);
  EXPECT_THROW(store.put(kFile, base::as_bytes(ours)), base::Conflict);
}

TEST(RestStore, EndsWhereTheCallerIsToldTo) {
  expect_ends_where_told_to([](const RawServer& server) { return store_at(server); });
}

TEST(RestStore, ReadsListingsStrictly) {
  const std::string id(64, 'a');
  const auto list = [](const std::string& body, const char* headers = kList) {
    const RawServer server(always(200, body, headers));
    std::vector<FileInfo> files;
    store_at(server).list(Kind::data, [&](const FileInfo& file) { files.push_back(file); });
    return files;
  };
  const auto files =
      list(R"([{"name":")" + id + R"(","size":7,"more":{"a":[1]}},{"name":"tmp","size":1}])");
  ASSERT_EQ(files.size(), 1u);
  EXPECT_EQ(files[0].id.hex(), id);
  EXPECT_EQ(files[0].size_bytes, 7u);
  EXPECT_TRUE(list("[]").empty());
  EXPECT_TRUE(list("null").empty());
  for (const std::string bad :
       {R"({"name":"x","size":1})", R"([{"name":"x"}])", R"([{"name":"x","size":-1}])",
        R"([{"name":1,"size":1}])", R"(["x"])", R"([{"name":"x","size":1})", "", "<html>", "7",
        R"([{"name":"x","size":1}] more)", R"([[]])"})
    EXPECT_THROW(list(bad), IoError) << bad;
  EXPECT_THROW(list("[\"" + id + "\"]", "Content-Type: application/json\r\n"), IoError);
}

TEST(RestStore, SendsTheLoginAndTheProtocolsVersion) {
  base::Synchronized<std::string> seen;
  const RawServer server([&](Connection& connection) {
    for (Request request; connection.read(request);) {
      *seen.lock() += request.line + "\n" + request.head + request.body + "\n";
      connection.answer(200, "");
    }
  });
  RestStore store = store_at(server);
  store.prepare();
  store.put(Name{Kind::data, {}}, base::as_bytes("content"));
  store.put(Name{}, base::as_bytes("content"));
  const std::string text = *seen.lock();
  EXPECT_THAT(text, HasSubstr("POST /repo/?create=true HTTP/1.1"));
  EXPECT_THAT(text, HasSubstr("POST /repo/data/" + std::string(64, '0') + " HTTP/1.1"));
  EXPECT_THAT(text, HasSubstr("POST /repo/config HTTP/1.1"));
  EXPECT_THAT(text, HasSubstr("accept: application/vnd.x.restic.rest.v2\n"));
  EXPECT_THAT(text, HasSubstr("authorization: Basic bWU6aHVudGVyMg==\n"));
  EXPECT_THAT(text, HasSubstr("Content-Length: 7\n"));
  EXPECT_THAT(text, Not(HasSubstr("hunter2")));
}

TEST(RestStore, TakesShortAnswersForWhatTheyAre) {
  const auto cut = [](const std::string& head) {
    return [=](Connection& connection) {
      Request request;
      if (connection.read(request)) connection.write(head + "\r\n\r\nshort");
    };
  };
  const RawServer broken(cut("HTTP/1.1 200 OK\r\nContent-Length: 50"));
  EXPECT_TRUE(get_failure(broken).transient());
  const RawServer ignores_ranges(always(200, "0123456789"));
  base::Bytes out(3);
  store_at(ignores_ranges).get_range(kFile, 4, out);
  EXPECT_EQ(base::as_text(out), "456");
  EXPECT_THROW(store_at(ignores_ranges).get_range(kFile, 8, out), base::Corrupt);
  EXPECT_THROW(store_at(RawServer(always(416, ""))).get_range(kFile, 8, out), base::Corrupt);
  EXPECT_THROW(store_at(ignores_ranges).get(kFile, 9), base::Corrupt);
  RestOptions hasty;
  hasty.deadlines.idle = 100ms;
  const RawServer silent([](Connection& connection) { connection.wait_for_end(); });
  EXPECT_TRUE(get_failure(silent, hasty).transient());
  const IoError refused =
      failure(RestStore(rest::parse_address("rest:http://127.0.0.1:1/"), {}),
              [](Store& store) { store.list(Kind::data, [](const FileInfo&) {}); });
  EXPECT_TRUE(refused.transient());
  EXPECT_THAT(refused.what(), HasSubstr("does the server run"));
}

}  // namespace
}  // namespace davit::store
