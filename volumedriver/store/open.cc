#include "store/open.h"

#include "base/errors.h"
#include "store/local_store.h"
#include "store/s3_store.h"

namespace davit::store {

bool is_local_url(const std::string& url) {
  return url.starts_with('/') || url.starts_with("local:");
}

std::unique_ptr<Store> open_store(const std::string& url, const StoreOptions& options) {
  if (url.starts_with("s3:")) {
    S3Options s3;
    s3.credentials = options.s3_credentials;
    s3.region = options.s3_region;
    s3.style = options.s3_style;
    s3.ca_file = options.ca_file;
    s3.spool_directory = options.spool_directory;
    return std::make_unique<S3Store>(s3::parse_address(url), std::move(s3));
  }
  constexpr std::string_view kLocal = "local:";
  std::string path = url;
  if (path.starts_with(kLocal)) path.erase(0, kLocal.size());
  // No message repeats the URL: it may hold a password.
  if (!path.starts_with('/'))
    throw base::UsageError(
        "a repository is named by an absolute path (/srv/backup), local:/path or "
        "s3:https://HOST/BUCKET/PREFIX; other "
        "schemes are not known");
  if (path.find('\0') != std::string::npos)
    throw base::UsageError("a path cannot hold a zero byte");
  while (path.size() > 1 && path.ends_with('/')) path.pop_back();
  return std::make_unique<LocalStore>(std::move(path));
}

}  // namespace davit::store
