#include "cli/text.h"

#include <gtest/gtest.h>

#include <cstdio>

#include "cli/table.h"

namespace davit::cli {
namespace {

TEST(Text, EscapesWhatCouldMoveACursor) {
  EXPECT_EQ(printable("plain"), "plain");
  EXPECT_EQ(printable("\x1b[2Jx"), "\\x1b[2Jx");
  EXPECT_EQ(printable("a\nb\tc\r"), "a\\nb\\tc\\x0d");
  EXPECT_EQ(printable("\x7f"), "\\x7f");
  EXPECT_EQ(printable("gr\xc3\xbcn \xf0\x9f\x9a\xa4"), "gr\xc3\xbcn \xf0\x9f\x9a\xa4");
  EXPECT_EQ(printable("\xc2\x9bm"), "\\xc2\\x9bm");             // the C1 form of ESC [
  EXPECT_EQ(printable("x\xe2\x80\xaey"), "x\\xe2\\x80\\xaey");  // turns the direction of writing
  EXPECT_EQ(printable("\xff\xfe"), "\\xff\\xfe");
  EXPECT_EQ(printable("\xc0\xaf"), "\\xc0\\xaf");           // overlong
  EXPECT_EQ(printable("\xed\xa0\x80"), "\\xed\\xa0\\x80");  // half a surrogate pair
  EXPECT_EQ(printable("x\xe2\x82"), "x\\xe2\\x82");         // cut
  EXPECT_EQ(printable(std::string_view("\0", 1)), "\\x00");
}

TEST(Text, MeasuresAndCutsByCharacters) {
  EXPECT_EQ(display_width("gr\xc3\xbcn"), 4u);
  EXPECT_EQ(cut_to_width("gr\xc3\xbcn", 3), "gr\xc3\xbc");
  EXPECT_EQ(cut_to_width("ab", 9), "ab");
  EXPECT_EQ(cut_to_width("ab", 0), "");
}

TEST(Text, TellsTimesFromNow) {
  const base::Time now = base::parse_rfc3339("2026-11-21T18:00:00Z");
  EXPECT_EQ(relative_time("2026-11-21T17:59:30Z", now), "30 s ago");
  EXPECT_EQ(relative_time("2026-11-21T17:00:00Z", now), "1 h ago");
  EXPECT_EQ(relative_time("2026-11-20T17:00:00Z", now), "25 h ago");
  EXPECT_EQ(relative_time("2026-11-01T18:00:00Z", now), "20 days ago");
  EXPECT_EQ(relative_time("2026-11-21T18:12:00Z", now), "in 12 min");
  EXPECT_EQ(relative_time("\x1bsoon", now), "\\x1bsoon");
}

TEST(Text, TellsDurations) {
  EXPECT_EQ(duration_text(0.42), "0.4 s");
  EXPECT_EQ(duration_text(12.4), "12 s");
  EXPECT_EQ(duration_text(185), "3 min 5 s");
  EXPECT_EQ(duration_text(7800), "2 h 10 min");
  EXPECT_EQ(duration_text(-1), "?");
  EXPECT_EQ(duration_text(1e300), "?");
  EXPECT_EQ(clock_text(6), "0:06");
  EXPECT_EQ(clock_text(3723), "1:02:03");
  EXPECT_EQ(clock_text(-5), "0:00");
}

TEST(Text, Counts) {
  EXPECT_EQ(count_text(0), "0");
  EXPECT_EQ(count_text(999), "999");
  EXPECT_EQ(count_text(1000), "1,000");
  EXPECT_EQ(count_text(1234567), "1,234,567");
  EXPECT_EQ(counted(1, "file", "files"), "1 file");
  EXPECT_EQ(counted(2, "file", "files"), "2 files");
}

TEST(Text, ReadsFieldsOfAnyMessage) {
  const Json message =
      Json::parse(R"({"t":"x","n":5,"neg":-5,"r":0.5,"f":true,"o":{"a":1},"l":["a",1,"b"],
    "p":"a?","p_base64":"Yf8=","q":"raw","q_base64":"%%%"})");
  EXPECT_EQ(text(message, "t"), "x");
  EXPECT_EQ(text(message, "n"), "");
  EXPECT_EQ(number(message, "n"), 5u);
  EXPECT_EQ(number(message, "neg"), 0u);
  EXPECT_EQ(number(message, "t"), 0u);
  EXPECT_EQ(real(message, "r"), 0.5);
  EXPECT_TRUE(flag(message, "f"));
  EXPECT_FALSE(flag(message, "n"));
  EXPECT_EQ(number(object(message, "o"), "a"), 1u);
  EXPECT_TRUE(object(message, "l").empty());
  EXPECT_EQ(texts(message, "l"), (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(bytes(message, "p"), "a\xff");
  EXPECT_EQ(bytes(message, "q"), "raw");
  EXPECT_EQ(text(Json::array(), "t"), "");
}

TEST(Table, AlignsItsColumnsAndLeavesOutEmptyOnes) {
  std::FILE* nowhere = std::tmpfile();
  const Terminal terminal(nowhere);
  Table table({{"NAME"}, {"SIZE", Table::Align::right}, {"EMPTY"}, {"NOTE"}});
  table.add({"gr\xc3\xbcn", "5", "", "x"});
  table.add({"a", "12345", "", ""});
  table.add({"longer name", {"", Colour::red}, "", "y"});
  EXPECT_EQ(table.render(terminal),
            "NAME          SIZE  NOTE\n"
            "gr\xc3\xbcn             5  x\n"
            "a            12345\n"
            "longer name         y\n");
  Table untitled({{""}, {""}});
  untitled.add({"a", "b"});
  EXPECT_EQ(untitled.render(terminal), "a  b\n");
  std::fclose(nowhere);
}

}  // namespace
}  // namespace davit::cli
