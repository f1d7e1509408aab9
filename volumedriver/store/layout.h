// Where a file of a repository lies beneath its place, in every store alike: restic's default
// layout.
//   config  keys/<id>  data/<first two digits>/<id>  index/<id>  snapshots/<id>  locks/<id>
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "store/store.h"

namespace davit::store {

// "keys", "data", …; "" for config.
const char* directory_name(Kind kind);
// "config", "keys/<id>", "data/<xx>/<id>".
std::string relative_path(const Name& name);
// The other way round. Nothing for what no file of that kind is called, nor for one in a wrong
// directory, where no get() would find it. Not for config.
std::optional<base::Id> parse_relative_path(Kind kind, std::string_view path);

}  // namespace davit::store
