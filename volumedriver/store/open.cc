#include "store/open.h"

#include "base/errors.h"
#include "store/local_store.h"

namespace davit::store {

std::unique_ptr<Store> open_store(const std::string& url) {
  constexpr std::string_view kLocal = "local:";
  std::string path = url;
  if (path.starts_with(kLocal)) path.erase(0, kLocal.size());
  // No message repeats the URL: it may hold a password.
  if (!path.starts_with('/'))
    throw base::UsageError(
        "a repository is named by an absolute path (/srv/backup) or local:/path; other schemes are "
        "not known");
  if (path.find('\0') != std::string::npos)
    throw base::UsageError("a path cannot hold a zero byte");
  while (path.size() > 1 && path.ends_with('/')) path.pop_back();
  return std::make_unique<LocalStore>(std::move(path));
}

}  // namespace davit::store
