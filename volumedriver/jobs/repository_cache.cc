#include "jobs/repository_cache.h"

#include <utility>

#include "jobs/repository_access.h"
#include "store/open.h"

namespace davit::jobs {

std::shared_ptr<store::CacheStore> add_cache(std::shared_ptr<store::Store>& store,
                                             const std::string& url) {
  if (store::is_local_url(url)) return nullptr;
  auto cache = std::make_shared<store::CacheStore>(std::move(store));
  store = cache;
  return cache;
}

void begin_cache(store::CacheStore& cache, const Settings& settings,
                 const std::string& data_directory, const repo::Repository& repository) {
  std::string directory = cache_directory(data_directory, repository);
  if (const std::string elsewhere = settings.get("RESTIC_CACHE_DIR"); !elsewhere.empty())
    directory = elsewhere + "/davit-" + repository.id().hex().substr(0, 16);
  cache.begin(directory + "/" + kCacheFiles, [&settings] {
    return static_cast<uint64_t>(settings.number("DAVIT_CACHE_SIZE")) << 20;
  });
}

}  // namespace davit::jobs
