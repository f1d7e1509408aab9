#include "store/store.h"

namespace davit::store {

const char* kind_name(Kind kind) {
  switch (kind) {
    case Kind::config:
      return "config";
    case Kind::key:
      return "key";
    case Kind::data:
      return "data";
    case Kind::index:
      return "index";
    case Kind::snapshot:
      return "snapshot";
    case Kind::lock:
      return "lock";
  }
  return "unknown";
}

std::string to_string(const Name& name) {
  if (name.kind == Kind::config) return "config";
  return std::string(kind_name(name.kind)) + "/" + name.id.hex();
}

}  // namespace davit::store
