// From a repository URL in restic's notation to a store, wrapped as it should be.
#pragma once

#include <memory>
#include <string>

#include "store/store.h"

namespace davit::store {

// A bare absolute path or "local:/path" is a local directory. Throws UsageError on any other scheme, naming
// the known ones.
std::unique_ptr<Store> open_store(const std::string& url);

}  // namespace davit::store
