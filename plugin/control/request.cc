#include "control/request.h"

#include <algorithm>

#include "base/errors.h"

namespace davit::control {

using nlohmann::json;

namespace {

constexpr size_t kMaxBodyBytes = 1 << 20;
constexpr int kMaxDepth = 4;

[[noreturn]] void refuse_type(const char* field, const char* type) {
  throw base::UsageError("the field '" + std::string(field) + "' must be " + type);
}

json parse(std::string_view body) {
  if (body.size() > kMaxBodyBytes) throw base::UsageError("the request is larger than 1 MiB");
  if (body.empty()) return json::object();
  const auto shallow = [](int depth, json::parse_event_t, json&) {
    if (depth > kMaxDepth) throw base::UsageError("the request is nested too deep");
    return true;
  };
  json value = json::parse(body, shallow, /*allow_exceptions=*/false);
  if (!value.is_object()) throw base::UsageError("the request's body is not a JSON object");
  return value;
}

}  // namespace

Request::Request(std::string_view body, const std::vector<const char*>& known)
    : fields_(parse(body)) {
  for (const auto& [field, value] : fields_.items()) {
    const bool is_known =
        std::any_of(known.begin(), known.end(), [&](const char* name) { return field == name; });
    if (!is_known)
      throw base::UsageError("this daemon does not know the field '" + field.substr(0, 64) +
                             "' of this command; are the client and the daemon of one version?");
  }
}

const json* Request::find(const char* field) const {
  const auto found = fields_.find(field);
  return found == fields_.end() || found->is_null() ? nullptr : &*found;
}

std::optional<std::string> Request::find_text(const char* field) const {
  const json* value = find(field);
  if (value == nullptr) return std::nullopt;
  if (!value->is_string()) refuse_type(field, "a string");
  return value->get<std::string>();
}

std::string Request::text(const char* field) const {
  return find_text(field).value_or("");
}

std::string Request::get_text(const char* field) const {
  std::string value = text(field);
  if (value.empty()) throw base::UsageError("the field '" + std::string(field) + "' is missing");
  return value;
}

bool Request::flag(const char* field) const {
  const json* value = find(field);
  if (value == nullptr) return false;
  if (!value->is_boolean()) refuse_type(field, "true or false");
  return value->get<bool>();
}

std::vector<std::string> Request::texts(const char* field) const {
  std::vector<std::string> values;
  const json* list = find(field);
  if (list == nullptr) return values;
  if (!list->is_array()) refuse_type(field, "a list of strings");
  for (const json& value : *list) {
    if (!value.is_string()) refuse_type(field, "a list of strings");
    values.push_back(value.get<std::string>());
  }
  return values;
}

std::optional<std::map<std::string, std::string>> Request::find_map(const char* field) const {
  const json* object = find(field);
  if (object == nullptr) return std::nullopt;
  if (!object->is_object()) refuse_type(field, "an object of strings");
  std::map<std::string, std::string> values;
  for (const auto& [key, value] : object->items()) {
    if (!value.is_string()) refuse_type(field, "an object of strings");
    values[key] = value.get<std::string>();
  }
  return values;
}

}  // namespace davit::control
