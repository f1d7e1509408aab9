#include "store/open.h"

#include "base/errors.h"
#include "store/local_store.h"
#include "store/rest_store.h"
#include "store/retry_store.h"
#include "store/s3_store.h"
#include "store/sftp_store.h"

namespace davit::store {

bool is_local_url(const std::string& url) {
  return url.starts_with('/') || url.starts_with("local:");
}

namespace {

std::unique_ptr<Store> open_bare(const std::string& url, const StoreOptions& options) {
  if (url.starts_with("s3:")) {
    S3Options s3;
    s3.credentials = options.s3_credentials;
    s3.region = options.s3_region;
    s3.style = options.s3_style;
    s3.ca_file = options.ca_file;
    s3.spool_directory = options.spool_directory;
    return std::make_unique<S3Store>(s3::parse_address(url), std::move(s3));
  }
  if (url.starts_with("sftp:")) {
    SftpOptions sftp;
    sftp.access.key_file = options.sftp_key_file;
    sftp.access.known_hosts_file = options.sftp_known_hosts_file;
    sftp.access.passphrase = options.sftp_passphrase;
    sftp.spool_directory = options.spool_directory;
    return std::make_unique<SftpStore>(sftp::parse_address(url), std::move(sftp));
  }
  if (url.starts_with("rest:")) {
    RestOptions rest;
    rest.login = options.rest_login;
    rest.ca_file = options.ca_file;
    rest.spool_directory = options.spool_directory;
    return std::make_unique<RestStore>(rest::parse_address(url), std::move(rest));
  }
  constexpr std::string_view kLocal = "local:";
  std::string path = url;
  if (path.starts_with(kLocal)) path.erase(0, kLocal.size());
  // No message repeats the URL: it may hold a password.
  if (!path.starts_with('/'))
    throw base::UsageError(
        "a repository is named by an absolute path (/srv/backup), local:/path, "
        "s3:https://HOST/BUCKET/PREFIX, sftp:USER@HOST:/PATH or rest:https://HOST:PORT/PATH/; other "
        "schemes are not known");
  if (path.find('\0') != std::string::npos)
    throw base::UsageError("a path cannot hold a zero byte");
  while (path.size() > 1 && path.ends_with('/')) path.pop_back();
  return std::make_unique<LocalStore>(std::move(path));
}

}  // namespace

std::string shown_url(const std::string& url) {
  try {
    if (url.starts_with("rest:")) return rest::to_string(rest::parse_address(url));
    if (url.starts_with("sftp:")) sftp::parse_address(url);  // refuses one that holds a password
    return url;
  } catch (const base::UsageError&) {
    return url.substr(0, 5) + "…";
  }
}

std::unique_ptr<Store> open_store(const std::string& url, const StoreOptions& options) {
  return std::make_unique<RetryStore>(open_bare(url, options));
}

}  // namespace davit::store
