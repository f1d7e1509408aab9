#include "cli/http_response.h"

#include <gtest/gtest.h>

#include <random>
#include <vector>

#include "base/errors.h"

namespace davit::cli {
namespace {

using Lines = std::vector<std::string>;

struct Outcome {
  Lines lines;
  int status = 0;
  bool complete = false;
};

Outcome read(std::string_view bytes, size_t piece) {
  Outcome outcome;
  HttpResponse response([&](std::string_view line) { outcome.lines.emplace_back(line); });
  for (size_t at = 0; at < bytes.size(); at += piece) response.feed(bytes.substr(at, piece));
  if (!response.complete()) response.end_of_stream();
  outcome.status = response.status();
  outcome.complete = response.complete();
  return outcome;
}

TEST(HttpResponse, GivesTheLinesHoweverTheyArrive) {
  const std::string chunked =
      "HTTP/1.1 200 OK\r\nContent-Type: x\r\nTransfer-Encoding: Chunked\r\n\r\n"
      "4\r\nab\nc\r\n6;x=y\r\nd\n\nef\n\r\n1\r\ng\r\n0\r\nTrailer: t\r\n\r\n";
  const std::string counted = "HTTP/1.1 200 OK\r\ncontent-length:  10 \r\n\r\nab\ncd\nef\ng";
  const std::string until_close = "HTTP/1.0 200\r\n\r\nab\ncd\nef\ng";
  const std::string continued = "HTTP/1.1 100 Continue\r\n\r\n" + counted;
  for (const std::string& response : {chunked, counted, until_close, continued})
    for (size_t piece = 1; piece < response.size(); ++piece) {
      const Outcome outcome = read(response, piece);
      EXPECT_EQ(outcome.lines, (Lines{"ab", "cd", "ef", "g"}))
          << response << " in pieces of " << piece;
      EXPECT_EQ(outcome.status, 200);
      EXPECT_TRUE(outcome.complete);
    }
}

TEST(HttpResponse, SaysThatACutResponseIsCut) {
  const std::string whole =
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nab\n\r\n0\r\n\r\n";
  for (size_t length = 0; length < whole.size(); ++length)
    EXPECT_THROW(read(whole.substr(0, length), 7), base::Corrupt) << length;
  EXPECT_THROW(read("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab", 7), base::Corrupt);
}

TEST(HttpResponse, RefusesWhatIsNoHttp) {
  const std::string chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
  for (const std::string& garbage :
       {std::string("SSH-2.0-OpenSSH_9.2\r\n"), std::string("\r\n\r\n"),
        std::string("HTTP/2 200\r\n\r\n"), std::string("HTTP/1.1 abc\r\n\r\n"),
        std::string("HTTP/1.1 200 OK\r\nnonsense\r\n\r\n"),
        std::string("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n"),
        std::string("HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n"),
        std::string("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n"), chunked + "xyz\r\n",
        chunked + "2\r\nabX\r\n", chunked + "ffffffffffffffff\r\n"})
    EXPECT_THROW(read(garbage, 1000), base::Corrupt) << garbage;
}

TEST(HttpResponse, BoundsHeaderAndLine) {
  EXPECT_THROW(read("HTTP/1.1 200 OK\r\n" + std::string(1 << 20, 'h'), 4096), base::Corrupt);
  std::string many = "HTTP/1.1 200 OK\r\n";
  for (int i = 0; i < 20'000; ++i) many += "a: b\r\n";
  EXPECT_THROW(read(many + "\r\n", 4096), base::Corrupt);
  EXPECT_THROW(read("HTTP/1.1 200 OK\r\n\r\n" + std::string(20 << 20, 'l'), 1 << 20),
               base::Corrupt);
}

TEST(HttpResponse, SurvivesAnyBytes) {
  std::mt19937 random(20261122);
  const std::string seed =
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nab\n\r\n0\r\n\r\n";
  size_t refused = 0;
  for (int round = 0; round < 20'000; ++round) {
    std::string bytes = seed;
    for (int change = 0; change < 3; ++change)
      bytes[random() % bytes.size()] = static_cast<char>(random());
    try {
      read(bytes, 1 + random() % 20);
    } catch (const base::Corrupt&) {
      ++refused;
    }
  }
  EXPECT_GT(refused, 1000u);
}

}  // namespace
}  // namespace davit::cli
