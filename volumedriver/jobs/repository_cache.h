// The cache on disk (store/cache_store.h) of a repository that is not on this machine.
#pragma once

#include <memory>
#include <string>

#include "jobs/settings.h"
#include "repo/repository.h"
#include "store/cache_store.h"

namespace davit::jobs {

// Where it lies in a directory that holds what is remembered of one repository.
inline constexpr const char* kCacheFiles = "files";

// Puts a cache around `store`, which keeps nothing before begin_cache(). Null, and `store` as it
// was, where `url` names a directory of this machine.
std::shared_ptr<store::CacheStore> add_cache(std::shared_ptr<store::Store>& store,
                                             const std::string& url);

// Once it is known which repository it is. DAVIT_CACHE_SIZE is followed while it lives; `settings`
// must outlive it.
void begin_cache(store::CacheStore& cache, const Settings& settings,
                 const std::string& data_directory, const repo::Repository& repository);

}  // namespace davit::jobs
