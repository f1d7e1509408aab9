// The body of a control request: a flat JSON object, read strictly. What a command does not know it
// refuses: a "dry_run" that an older daemon overlooked would delete for real.
#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace davit::control {

class Request {
 public:
  // Throws UsageError when `body` is no JSON object (an empty body is an empty one), is larger than
  // 1 MiB or has a field that is not in `known`. Messages never quote the body: it may hold a
  // password.
  Request(std::string_view body, const std::vector<const char*>& known);

  // A field that is absent or null is "", false, empty, nothing. A wrong type throws UsageError.
  std::string text(const char* field) const;
  std::optional<std::string> find_text(const char* field) const;
  // Throws UsageError when it is absent or empty.
  std::string get_text(const char* field) const;
  bool flag(const char* field) const;
  std::vector<std::string> texts(const char* field) const;
  std::optional<std::map<std::string, std::string>> find_map(const char* field) const;

 private:
  const nlohmann::json* find(const char* field) const;

  nlohmann::json fields_;
};

}  // namespace davit::control
