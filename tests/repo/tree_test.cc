#include "repo/tree.h"

#include <gtest/gtest.h>

#include <fstream>

#include "base/errors.h"
#include "crypto/sha256.h"
#include "repo/printable.h"
#include "repo/utf8.h"
#include "support/vectors.h"

namespace davit::repo {
namespace {

using test::text_of;

std::vector<Node> parse(std::string_view json) {
  return parse_tree(base::as_bytes(json));
}
Node parse_one(const std::string& fields) {
  auto nodes = parse("{\"nodes\":[{" + fields + "}]}");
  EXPECT_EQ(nodes.size(), 1u);
  return nodes.at(0);
}
base::Bytes encode(const std::vector<Node>& nodes) {
  TreeEncoder encoder;
  for (const Node& node : nodes) encoder.add(node);
  return encoder.finish();
}
std::string encoded_name(const std::string& name) {
  Node node;
  node.name = name;
  base::Bytes bytes;
  encode_node(node, bytes);
  const std::string text = text_of(bytes);
  return text.substr(8, text.find(",\"type\":") - 8);
}

TEST(Tree, TheEmptyOneHasItsWellKnownId) {
  const base::Bytes tree = TreeEncoder().finish();
  EXPECT_EQ(text_of(tree), "{\"nodes\":[]}\n");
  EXPECT_EQ(crypto::sha256(tree).hex(),
            "ac08ce34ba4f8123618661bef2425f7028ffb9ac740578a3ee88684d2523fee8");
}

TEST(Tree, ResticsTreesComeBackByteForByte) {
  ASSERT_EQ(test::tiny_repository()["trees_base64"].size(), 3u);
  int replaced = 0;
  for (const auto& [id, base64] : test::tiny_repository()["trees_base64"].items()) {
    const base::Bytes tree = base::from_base64(base64.get<std::string>());
    ASSERT_EQ(crypto::sha256(tree).hex(), id);
    // One attribute's name was no UTF-8. Even restic cannot write its own spelling of that again.
    std::string expected = text_of(tree);
    if (const size_t at = expected.find("user.bad-\\ufffd"); at != expected.npos) {
      expected.replace(at + 9, 6, "\ufffd");
      ++replaced;
    }
    EXPECT_EQ(text_of(encode(parse_tree(tree))), expected);
  }
  EXPECT_EQ(replaced, 1);
}

TEST(Tree, KnowsEveryFieldOfResticsNodes) {
  const base::Bytes tree = base::from_base64(
      test::tiny_repository()["trees_base64"]
                             ["3e33954df9c17d217f7e5c3961501997e7884dcc12cc28461cc247822cac35b2"]
                                 .get<std::string>());
  std::map<std::string, Node> nodes;
  const TreeSummary summary = parse_tree(tree, [&](Node&& node) { nodes[node.name] = node; });
  EXPECT_TRUE(summary.ascending);
  EXPECT_EQ(summary.nodes, nodes.size());
  const Node& block = nodes.at("blk");
  EXPECT_EQ(block.type, NodeType::dev);
  EXPECT_EQ(block.device, 4293985279u);
  EXPECT_EQ(st_mode(block.mode), static_cast<mode_t>(S_IFBLK | 0600));
  EXPECT_EQ(block.mtime, (NodeTime{1700000000, 500'000'000}));
  EXPECT_FALSE(block.content_missing);
  EXPECT_EQ(nodes.at("noperm").mode, 0u);
  EXPECT_EQ(nodes.at("hl1").inode, nodes.at("hl2").inode);
  EXPECT_EQ(nodes.at("hl1").links, 2u);
  EXPECT_EQ(nodes.at("hl1").size, 10u);
  EXPECT_EQ(nodes.at("hl1").content.size(), 1u);
  EXPECT_EQ(nodes.at("emptydir").subtree->short_hex(), "ac08ce34");
  ASSERT_EQ(nodes.at("emptydir").xattrs.size(), 1u);
  EXPECT_EQ(nodes.at("emptydir").xattrs[0].name, "user.d");
  EXPECT_EQ(text_of(nodes.at("emptydir").xattrs[0].value), "dirattr");
  EXPECT_LT(nodes.at("pre1970").mtime.seconds, 0);
  EXPECT_FALSE(is_utf8(nodes.at("symraw").linktarget));
  EXPECT_EQ(nodes.count("latin1-\xe9\xff"), 1u);
}

TEST(TreeNames, AreSpelledAsResticSpellsThem) {
  std::ifstream file(test::data_path("name-escaping.tsv"));
  size_t checked = 0;
  for (std::string line; std::getline(file, line);) {
    if (line.empty() || line[0] == '#') continue;
    const std::string name = text_of(base::from_hex(line.substr(0, line.find('\t'))));
    const std::string expected = text_of(base::from_hex(line.substr(line.find('\t') + 1)));
    EXPECT_EQ(encoded_name(name), expected);
    EXPECT_EQ(parse_one("\"type\":\"file\",\"name\":" + expected).name, name);
    ++checked;
  }
  EXPECT_EQ(checked, 27u);
}

TEST(TreeNames, EveryCodePointIsPrintableExactlyWhereItWasMeasured) {
  std::ifstream file(test::data_path("isprint-go1.24.txt"));
  std::vector<bool> printable(0x110000);
  size_t total = 0;
  for (std::string line; std::getline(file, line);) {
    if (line.empty() || line[0] == '#') continue;
    const size_t dash = line.find('-');
    const size_t first = std::stoul(line, nullptr, 16);
    const size_t last = dash == line.npos ? first : std::stoul(line.substr(dash + 1), nullptr, 16);
    for (size_t i = first; i <= last; ++i) printable[i] = true;
    total += last - first + 1;
  }
  ASSERT_EQ(total, 148'903u);
  for (char32_t value = 0x80; value < 0x110000; ++value)
    ASSERT_EQ(is_printable(value), printable[value]) << static_cast<uint32_t>(value);
}

TEST(TreeNames, AnyBytesSurvive) {
  test::Stream random(11);
  for (int round = 0; round < 20'000; ++round) {
    std::string name;
    const size_t size = 1 + random.below(24);
    while (name.size() < size) {
      switch (random.below(4)) {
        case 0:
          name += static_cast<char>(random.below(256));
          break;
        case 1:
          name += static_cast<char>(0x20 + random.below(0x60));
          break;
        case 2:
          name += "\"\\<>&\x7f\n\b\f"[random.below(9)];
          break;
        default: {
          const char32_t value = static_cast<char32_t>(random.below(0x110000));
          if (!is_surrogate(value)) append_utf8(name, value);
        }
      }
    }
    if (!is_valid_name(name)) continue;
    const std::string spelled = encoded_name(name);
    ASSERT_EQ(parse_one("\"name\":" + spelled + ",\"type\":\"file\"").name, name) << spelled;
    ASSERT_TRUE(is_utf8(spelled));
    ASSERT_EQ(nlohmann::json::accept(spelled), true) << spelled;
  }
}

TEST(TreeNames, AllEscapesAreReadAndOthersRefused) {
  const auto name = [](const std::string& literal) {
    return parse_one("\"type\":\"file\",\"name\":\"" + literal + "\"").name;
  };
  EXPECT_EQ(name("a\\\\x41\\\\u00e9\\\\U0001f600\\\\101\\\\a\\\\v\\\\\\\"\\\\\\\\"),
            "aA\u00e9\U0001f600A\a\v\"\\");
  EXPECT_EQ(name("\\u0061\\ud83d\\ude00\\n"),
            "a\U0001f600\n");  // rustic leaves control characters unquoted
}

TEST(TreeNames, ThatCouldEscapeAreRefused) {
  for (const char* name : {"",
                           ".",
                           "..",
                           "/",
                           "a/b",
                           "/etc",
                           "..\\u002f",
                           "\\u0000",
                           "a\\\\x00b",
                           "\\\\x2e.",
                           "\\\\056\\\\056",
                           "\\\\x2fetc",
                           "\\\\'",
                           "\\\\q",
                           "\\\\x4",
                           "\\\\u12",
                           "\\\\ud800",
                           "\\\\U00110000",
                           "\\\\400",
                           "\\\\08",
                           "\\\\",
                           "a\\\"b"}) {
    EXPECT_THROW(parse_one("\"type\":\"file\",\"name\":\"" + std::string(name) + "\""),
                 base::Corrupt)
        << name;
  }
  EXPECT_THROW(parse_one("\"type\":\"file\""), base::Corrupt);
  for (const std::string& name : {std::string(), std::string("."), std::string(".."),
                                  std::string("a/b"), std::string("a\0b", 3)}) {
    EXPECT_FALSE(is_valid_name(name));
    EXPECT_THROW(encoded_name(name), base::UsageError);
  }
}

TEST(Tree, EncodesANodeInCanonicalOrderAndLeavesOutWhatIsZero) {
  Node node;
  node.name = "n";
  base::Bytes bytes;
  encode_node(node, bytes);
  EXPECT_EQ(
      text_of(bytes),
      R"({"name":"n","type":"file","mtime":"1970-01-01T00:00:00Z","atime":"1970-01-01T00:00:00Z",)"
      R"("ctime":"1970-01-01T00:00:00Z","uid":0,"gid":0,"content":[]})");
  node.type = NodeType::symlink;
  node.mode = go_mode(S_IFLNK | 0777);
  node.mtime = {1700000000, 123456789};
  node.atime = {1700000000, 120000000};
  node.ctime = {-1, 1};
  node.uid = 4294967295;
  node.gid = 7;
  node.user = "<u>";
  node.group = "g\xff";
  node.inode = 18446744073709551615u;
  node.device_id = 1;
  node.size = 2;
  node.links = 3;
  node.linktarget = "t\xe9";
  node.xattrs = {{"user.b", test::bytes_of("v")}, {"user.a", {}}};
  node.device = 5;
  node.subtree = crypto::sha256({});
  node.error = "e";
  bytes.clear();
  encode_node(node, bytes);
  EXPECT_EQ(
      text_of(bytes),
      R"({"name":"n","type":"symlink","mode":134218239,"mtime":"2023-11-14T22:13:20.123456789Z",)"
      R"("atime":"2023-11-14T22:13:20.12Z","ctime":"1969-12-31T23:59:59.000000001Z","uid":4294967295,"gid":7,)"
      R"("user":"\u003cu\u003e","group":"g\ufffd","inode":18446744073709551615,"device_id":1,"size":2,"links":3,)"
      R"("linktarget":"t\ufffd","linktarget_raw":"dOk=",)"
      R"("extended_attributes":[{"name":"user.b","value":"dg=="},{"name":"user.a","value":""}],"device":5,)"
      R"("content":null,"subtree":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","error":"e"})");
  EXPECT_EQ(parse_one(text_of(bytes).substr(1, bytes.size() - 2)).linktarget, "t\xe9");
}

TEST(Tree, YearsAreClampedAndOtherwiseKept) {
  struct {
    int64_t seconds;
    const char* text;
  } const times[] = {
      {253402300799, "9999-12-31T23:59:59Z"}, {253402300800, "9999-01-01T00:00:00Z"},
      {-62167219200, "0000-01-01T00:00:00Z"}, {-62167219201, "0000-12-31T23:59:59Z"},
      {951782400, "2000-02-29T00:00:00Z"},    {-1, "1969-12-31T23:59:59Z"},
      {-86400, "1969-12-31T00:00:00Z"},       {4107542400, "2100-03-01T00:00:00Z"},
      {253407398400, "9999-03-01T00:00:00Z"},  // 29 February 10000
  };
  for (const auto& [seconds, text] : times) {
    Node node;
    node.name = "n";
    node.mtime = {seconds, 0};
    base::Bytes bytes;
    encode_node(node, bytes);
    EXPECT_NE(text_of(bytes).find("\"mtime\":\"" + std::string(text) + "\""), std::string::npos)
        << text_of(bytes);
  }
  for (int64_t seconds : {INT64_MAX, INT64_MIN}) {
    Node node;
    node.name = "n";
    node.mtime = {seconds, 999'999'999};
    EXPECT_NO_THROW(parse_tree(encode({node})));
  }
}

TEST(Tree, ModesTurnToGosAndBack) {
  struct {
    mode_t mode;
    uint32_t go;
  } const modes[] = {{S_IFREG | 0644, 420},
                     {S_IFDIR | 0755, 2147484141},
                     {S_IFLNK | 0777, 134218239},
                     {S_IFREG | 06755, 12583405},
                     {S_IFREG | 01644, 1048996},
                     {S_IFDIR | 03777, 2152727039},
                     {S_IFCHR | 0600, 69206400},
                     {S_IFBLK | 0600, 67109248},
                     {S_IFIFO | 0640, 33554848},
                     {S_IFSOCK | 0777, (1 << 24) | 0777},
                     {S_IFREG, 0}};
  for (const auto& [mode, go] : modes) {
    EXPECT_EQ(go_mode(mode), go);
    EXPECT_EQ(st_mode(go), mode);
    EXPECT_TRUE(node_type(mode).has_value());
  }
  EXPECT_FALSE(node_type(0).has_value());
}

TEST(Tree, NodesMustAscendWhenWritten) {
  TreeEncoder encoder;
  Node node;
  node.name = "b";
  encoder.add(node);
  EXPECT_THROW(encoder.add(node), base::UsageError);
  node.name = "a";
  EXPECT_THROW(encoder.add(node), base::UsageError);
  node.name = "b\xff";
  encoder.add(node);
  node.name = "c/d";
  EXPECT_THROW(encoder.add(node), base::UsageError);
  node.name = "c";
  node.xattrs = {{"user.\xff", {}}};
  EXPECT_THROW(encoder.add(node), base::UsageError);
  const base::Bytes tree = encoder.finish();  // what was refused left no trace
  EXPECT_EQ(parse_tree(tree).size(), 2u);
  EXPECT_EQ(text_of(encoder.finish()), "{\"nodes\":[]}\n");
}

TEST(Tree, ReportsWhetherForeignNodesAscend) {
  const auto ascending = [](const char* first, const char* second) {
    const std::string json = std::string(R"({"nodes":[{"type":"fifo","name":")") + first +
                             R"("},{"type":"fifo","name":")" + second + R"("}]})";
    return parse_tree(base::as_bytes(json), [](Node&&) {}).ascending;
  };
  EXPECT_TRUE(ascending("a", "b"));
  EXPECT_FALSE(ascending("b", "a"));
  EXPECT_FALSE(ascending("a", "a"));
}

TEST(Tree, ReadsAnyLegalJson) {
  const auto nodes = parse(
      R"( { "other" : [1, -2.5e+3, {"x":[true,false,null,"\u00e9\ud83d\ude00\ud800"]}], "nodes" :
      [ { "ctime":"2023-11-14T23:13:20.1234567891+01:00", "content" : [ ] , "type":"file","extra":{},"uid":null,"size":12 ,
          "name":"n\u0061me" , "user":"\u0022\/\b\f\n\r\t\ud83d\ude00\udc00" }  , {"name":"d","type":"dir","subtree":null} ] ,
      "after" : "x" }  )");
  ASSERT_EQ(nodes.size(), 2u);
  EXPECT_EQ(nodes[0].name, "name");
  EXPECT_EQ(nodes[0].size, 12u);
  EXPECT_EQ(nodes[0].ctime, (NodeTime{1700000000, 123456789}));
  EXPECT_EQ(nodes[0].user, "\"/\b\f\n\r\t\U0001f600\ufffd");
  EXPECT_FALSE(nodes[0].content_missing);
  EXPECT_FALSE(nodes[1].subtree.has_value());
  EXPECT_TRUE(parse_one(R"("name":"f","type":"file","content":null)").content_missing);
  EXPECT_TRUE(parse_one(R"("name":"f","type":"file")").content_missing);
  EXPECT_TRUE(parse(R"({"nodes":null})").empty());
}

TEST(Tree, RefusesWhatIsNone) {
  const std::string id(64, 'a');
  const std::string good = R"("name":"n","type":"file")";
  EXPECT_NO_THROW(parse_one(good));
  for (const std::string& json :
       {std::string(), std::string("{"), std::string("[]"), std::string("{}"), std::string("null"),
        std::string("{\"nodes\":[]} x"), std::string("{\"nodes\":[],}"),
        std::string("{\"nodes\":[],\"nodes\":[]}"), std::string("{\"nodes\":{}}"),
        std::string("{\"nodes\":[null]}"), std::string("{\"nodes\":[{}]}"),
        "{\"nodes\":[{" + good + "},]}", "{\"nodes\":[{" + good + "} {" + good + "}]}",
        "{\"nodes\":[{" + good + ",}]}", "{\"nodes\":[{" + good + "}", std::string("{\"nodes\"}"),
        std::string("{\"nodes\":[1]}")}) {
    EXPECT_THROW(parse(json), base::Corrupt) << json;
  }
  for (const std::string& field :
       {std::string("\"type\":\"irregular\""),
        std::string("\"type\":\"\""),
        std::string("\"mode\":4294967296"),
        std::string("\"mode\":-1"),
        std::string("\"mode\":1.0"),
        std::string("\"mode\":1e3"),
        std::string("\"mode\":01"),
        std::string("\"mode\":\"1\""),
        std::string("\"size\":18446744073709551616"),
        std::string("\"mtime\":\"2023-13-14T22:13:20Z\""),
        std::string("\"mtime\":\"2023-02-29T22:13:20Z\""),
        std::string("\"mtime\":\"2023-11-14T22:13:20\""),
        std::string("\"mtime\":\"\""),
        std::string("\"mtime\":\"2023-11-14T22:13:20.Z\""),
        std::string("\"mtime\":\"12023-11-14T22:13:20Z\""),
        "\"subtree\":\"" + id + "a\"",
        "\"subtree\":\"" + id.substr(1) + "g\"",
        "\"content\":[\"" + id.substr(1) + "\"]",
        std::string("\"content\":[null]"),
        std::string("\"content\":{}"),
        std::string("\"extended_attributes\":[{\"value\":\"\"}]"),
        std::string("\"extended_attributes\":[{\"name\":\"x\",\"value\":\"*\"}]"),
        std::string("\"user\":\"a\nb\""),
        std::string("\"user\":\"\\x\""),
        std::string("\"user\":\"\\u12\""),
        std::string("\"user\":tru"),
        std::string("\"linktarget\":\"a\\u0000b\""),
        std::string("\"linktarget_raw\":\"AA==\""),
        std::string("\"x\":-"),
        std::string("\"x\":1."),
        std::string("\"x\":+1"),
        std::string("\"x\":[1,]"),
        std::string("\"x\":nul"),
        std::string("x:1")}) {
    EXPECT_THROW(parse_one(good + "," + field), base::Corrupt) << field;
  }
}

TEST(Tree, DepthIsBounded) {
  const auto nested = [](size_t depth) {
    return "{\"x\":" + std::string(depth, '[') + std::string(depth, ']') + ",\"nodes\":[]}";
  };
  EXPECT_NO_THROW(parse(nested(31)));
  EXPECT_THROW(parse(nested(32)), base::Corrupt);
  EXPECT_THROW(parse(nested(1'000'000)), base::Corrupt);
}

TEST(Tree, TheCallbacksOwnFailurePassesThrough) {
  EXPECT_THROW(parse_tree(base::as_bytes(R"({"nodes":[{"name":"n","type":"fifo"}]})"),
                          [](Node&&) { throw base::Cancelled(); }),
               base::Cancelled);
}

TEST(Utf8, IsStrict) {
  for (const char* good : {"", "a", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80", "\xef\xbf\xbd",
                           "\xf4\x8f\xbf\xbf"})
    EXPECT_TRUE(is_utf8(good));
  for (const char* bad :
       {"\x80", "\xc0\x80", "\xc1\xbf", "\xc3", "\xe0\x80\x80", "\xed\xa0\x80", "\xe2\x82",
        "\xf0\x80\x80\x80", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xff", "a\xe9"}) {
    EXPECT_FALSE(is_utf8(bad));
  }
}

}  // namespace
}  // namespace davit::repo
