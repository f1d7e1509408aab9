#include "control/metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <charconv>
#include <map>
#include <set>
#include <string>

#include "control/control_api.h"
#include "control/fake_operations.h"
#include "control/handler.h"

namespace davit::control {
namespace {

using ::testing::HasSubstr;

// Reads Prometheus' text format as its specification has it, and nothing else.
class Exposition {
 public:
  using Labels = std::map<std::string, std::string>;
  explicit Exposition(std::string text) : text_(std::move(text)) {
    if (text_.empty() || text_.back() != '\n') throw std::runtime_error("the last line has no end");
    while (at_ < text_.size()) line();
  }

  // Throws where there is no such sample.
  double value(const std::string& name, const Labels& labels = {}) const {
    return samples_.at({name, labels});
  }
  bool has(const std::string& name, const Labels& labels = {}) const {
    return samples_.contains({name, labels});
  }
  bool has_family(const std::string& name) const { return types_.contains(name); }
  size_t size() const { return samples_.size(); }

 private:
  [[noreturn]] void fail(const std::string& why) const {
    throw std::runtime_error(why + " at: " + text_.substr(at_, 60));
  }
  bool take(std::string_view what) {
    if (!std::string_view(text_).substr(at_).starts_with(what)) return false;
    at_ += what.size();
    return true;
  }
  void expect(std::string_view what) {
    if (!take(what)) fail("expected '" + std::string(what) + "'");
  }
  std::string name(bool colons) {
    const size_t begin = at_;
    const auto is_good = [&](char c) {
      return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (colons && c == ':') ||
             (at_ > begin && c >= '0' && c <= '9');
    };
    while (at_ < text_.size() && is_good(text_[at_])) ++at_;
    if (at_ == begin) fail("expected a name");
    return text_.substr(begin, at_ - begin);
  }
  std::string rest_of_line() {
    const size_t end = text_.find('\n', at_);
    const std::string rest = text_.substr(at_, end - at_);
    at_ = end;
    return rest;
  }
  void line() {
    if (take("# HELP ")) {
      const std::string family = name(true);
      expect(" ");
      if (!helped_.insert(family).second) fail("a second HELP of " + family);
      if (rest_of_line().empty()) fail("HELP says nothing");
    } else if (take("# TYPE ")) {
      const std::string family = name(true);
      expect(" ");
      const std::string type = rest_of_line();
      if (!std::set<std::string>{"counter", "gauge", "untyped"}.contains(type)) fail(type);
      if (!types_.emplace(family, type).second) fail("a second TYPE of " + family);
      current_ = family;
    } else {
      sample();
    }
    expect("\n");
  }
  void sample() {
    const std::string family = name(true);
    if (family != current_) fail("a sample that is not below its TYPE");
    Labels labels;
    if (take("{")) {
      while (!take("}")) {
        const std::string label = name(false);
        expect("=\"");
        std::string value;
        while (!take("\"")) {
          if (at_ >= text_.size() || text_[at_] == '\n') fail("a label's value has no end");
          if (take("\\\\"))
            value += '\\';
          else if (take("\\\""))
            value += '"';
          else if (take("\\n"))
            value += '\n';
          else if (text_[at_] == '\\')
            fail("an unknown escape");
          else
            value += text_[at_++];
        }
        if (!labels.emplace(label, value).second) fail("a label twice");
        if (!take(",") && text_[at_] != '}') fail("expected , or }");
      }
    }
    expect(" ");
    double value = 0;
    const char* const begin = text_.data() + at_;
    const auto [end, error] = std::from_chars(begin, text_.data() + text_.size(), value);
    if (error != std::errc()) fail("expected a number");
    at_ += static_cast<size_t>(end - begin);
    if (!samples_.emplace(std::pair(family, labels), value).second) fail("a sample twice");
  }

  const std::string text_;
  size_t at_ = 0;
  std::string current_;
  std::set<std::string> helped_;
  std::map<std::string, std::string> types_;
  std::map<std::pair<std::string, Labels>, double> samples_;
};

base::Time at(const char* time) {
  return base::parse_rfc3339(time);
}

jobs::Status some_status() {
  jobs::Status status;
  status.version = "1.2.3";
  status.host = "ship \"north\"\\\nstar";
  status.repository_state = "ok";
  status.snapshots_known = true;
  jobs::VolumeStatus good;
  good.volume.name = "pgdata";
  good.volume.last_backup.attempted = at("2026-11-28T12:00:00Z");
  good.volume.last_backup.succeeded = at("2026-11-28T12:00:00.5Z");
  good.volume.last_backup.bytes = uint64_t{5} << 40;
  good.volume.last_backup.files = 12'345'678;
  good.snapshots = 31;
  good.next_backup = at("2026-11-28T13:00:00Z");
  jobs::VolumeStatus bad;
  bad.volume.name = "quote\"back\\slash\nline";
  bad.volume.last_backup.attempted = at("2026-11-28T12:00:00Z");
  bad.volume.last_backup.error = "no";
  bad.damaged = {"1a2b", "3c4d"};
  bad.running.emplace();
  jobs::VolumeStatus fresh;
  fresh.volume.name = "fresh";
  status.volumes = {good, bad, fresh};
  jobs::ContainerStatus container;
  container.name = "web";
  container.last.attempted = container.last.succeeded = at("2026-11-28T12:00:00Z");
  container.last.partial = true;
  status.containers = {container};
  status.damage.emplace();
  status.damage->errors = 7;
  status.scrub.period = std::chrono::days(30);
  status.scrub.coverage = {
      .packs = 200, .covered = 194, .never = 3, .oldest = at("2026-11-01T00:00:00Z")};
  return status;
}

TEST(Metrics, TellWhatIsKnownInTheFormatAsItIsSpecified) {
  const Exposition told(metrics_text(some_status()));
  EXPECT_EQ(
      told.value("davit_build_info", {{"version", "1.2.3"}, {"host", "ship \"north\"\\\nstar"}}),
      1);
  EXPECT_EQ(told.value("davit_repository_up"), 1);
  EXPECT_EQ(told.value("davit_check_errors"), 7);
  EXPECT_EQ(told.value("davit_scrub_covered_ratio"), 0.97);
  EXPECT_EQ(told.value("davit_scrub_never_read_packs"), 3);
  EXPECT_EQ(told.value("davit_scrub_oldest_timestamp"), 1793491200);
  EXPECT_EQ(told.value("davit_volumes"), 3);
  const Exposition::Labels good{{"volume", "pgdata"}}, bad{{"volume", "quote\"back\\slash\nline"}},
      fresh{{"volume", "fresh"}}, web{{"container", "web"}};
  EXPECT_EQ(told.value("davit_backup_last_successful_timestamp", good), 1795867200.5);
  EXPECT_EQ(told.value("davit_backup_next_timestamp", good), 1795870800);
  EXPECT_EQ(told.value("davit_backup_last_status", good), 1);
  EXPECT_EQ(told.value("davit_backup_last_size_bytes", good), 5497558138880.0);
  EXPECT_EQ(told.value("davit_backup_last_files", good), 12345678);
  EXPECT_EQ(told.value("davit_snapshots", good), 31);
  EXPECT_EQ(told.value("davit_damaged_snapshots", good), 0);
  EXPECT_EQ(told.value("davit_backup_running", good), 0);
  EXPECT_EQ(told.value("davit_backup_last_status", bad), 0);
  EXPECT_EQ(told.value("davit_damaged_snapshots", bad), 2);
  EXPECT_EQ(told.value("davit_backup_running", bad), 1);
  EXPECT_FALSE(told.has("davit_backup_last_successful_timestamp", bad));
  EXPECT_FALSE(told.has("davit_backup_last_status", fresh)) << "nothing was tried yet";
  EXPECT_EQ(told.value("davit_backup_last_status", web), 0) << "partial";
  EXPECT_EQ(told.value("davit_backup_last_successful_timestamp", web), 1795867200);
}

TEST(Metrics, AreQuietAboutWhatThereIsNot) {
  jobs::Status status;
  status.repository_state = "it is locked";
  const Exposition told(metrics_text(status));
  EXPECT_EQ(told.value("davit_repository_up"), 0);
  for (const char* unknown : {"davit_check_errors", "davit_snapshots", "davit_damaged_snapshots"})
    EXPECT_FALSE(told.has_family(unknown)) << unknown;
  EXPECT_FALSE(told.has_family("davit_scrub_covered_ratio"));
  EXPECT_FALSE(told.has_family("davit_backup_last_status"));
  EXPECT_FALSE(told.has_family("davit_prune_last_successful_timestamp"));
}

// The reader of these tests is strict.
TEST(Metrics, WhatIsNotTheFormatIsNotRead) {
  for (const char* text :
       {"", "a 1", "# TYPE a gauge\nb 1\n", "# TYPE a gauge\na{x=\"1} 1\n",
        "# TYPE a gauge\na{x=\"\\q\"} 1\n", "# TYPE a gauge\na 1\na 2\n", "# TYPE a gauge\na one\n",
        "# TYPE a gauge\n# TYPE a gauge\n", "# TYPE 1a gauge\n1a 1\n", "\n"})
    EXPECT_ANY_THROW(Exposition{text}) << text;
  EXPECT_EQ(Exposition("# TYPE a gauge\na{x=\"y\"} 2.5\n").value("a", {{"x", "y"}}), 2.5);
}

class OneAnswer : public http::Responder {
 public:
  void send(int status, std::string_view content_type, std::string_view body) override {
    told = std::to_string(status) + " " + std::string(content_type);
    text = body;
  }
  void begin_stream(int status, std::string_view content_type) override {
    told = "stream " + std::to_string(status) + " " + std::string(content_type);
  }
  void write(std::string_view chunk) override { text += chunk; }
  void hang_up() override { told = "hung up"; }
  std::string told, text;
};

TEST(Metrics, AreServedToAScraperAndToTheClient) {
  test::FakeOperations operations;
  operations.current_status = some_status();
  ControlApi api(operations, "1.2.3");
  const auto handler = make_handler(api);
  OneAnswer scraped, asked;
  handler({.method = "GET", .target = "/metrics", .headers = {}, .body = {}, .stop = {}}, scraped);
  EXPECT_EQ(scraped.told, "200 text/plain; version=0.0.4; charset=utf-8");
  EXPECT_GT(Exposition(scraped.text).size(), 20u);
  handler({.method = "POST", .target = "/v1/metrics", .headers = {}, .body = "{}", .stop = {}},
          asked);
  EXPECT_EQ(asked.told, "stream 200 application/x-ndjson");
  const auto message = nlohmann::json::parse(asked.text.substr(0, asked.text.find('\n')));
  EXPECT_EQ(message["message_type"], "metrics");
  EXPECT_EQ(message["text"], scraped.text);
}

}  // namespace
}  // namespace davit::control
