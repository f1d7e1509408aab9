#include "store/layout.h"

namespace davit::store {

const char* directory_name(Kind kind) {
  switch (kind) {
    case Kind::config:
      return "";
    case Kind::key:
      return "keys";
    case Kind::data:
      return "data";
    case Kind::index:
      return "index";
    case Kind::snapshot:
      return "snapshots";
    case Kind::lock:
      return "locks";
  }
  return "";
}

std::string relative_path(const Name& name) {
  if (name.kind == Kind::config) return "config";
  const std::string id = name.id.hex();
  std::string path = std::string(directory_name(name.kind)) + "/";
  if (name.kind == Kind::data) path += id.substr(0, 2) + "/";
  return path + id;
}

std::optional<base::Id> parse_relative_path(Kind kind, std::string_view path) {
  const auto id = base::Id::parse(path.substr(path.rfind('/') + 1));
  if (!id || relative_path({kind, *id}) != path) return std::nullopt;
  return id;
}

}  // namespace davit::store
