// From a repository URL in restic's notation to a store, wrapped as it should be.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "store/rest/address.h"
#include "store/s3/address.h"
#include "store/s3/signature.h"
#include "store/store.h"

namespace davit::store {

// What a store needs to know beside its URL; one that needs none of it takes no notice.
struct StoreOptions {
  // See S3Options.
  std::function<s3::Credentials()> s3_credentials;
  std::string s3_region;
  s3::Style s3_style = s3::Style::path;
  // See wire::SftpAccess.
  std::string sftp_key_file, sftp_known_hosts_file;
  std::function<std::string()> sftp_passphrase;
  // See RestOptions.
  std::function<rest::Login()> rest_login;
  std::string ca_file;
  std::string spool_directory;
};

// A bare absolute path or "local:/path" is a local directory, "s3:…" a bucket (store/s3/address.h), "sftp:…" a directory
// of an SFTP server (store/sftp/address.h), "rest:…" a REST server (store/rest/address.h). Asks nobody yet.
// What fails in passing is tried again (retry_store.h).
// Throws UsageError on any other scheme, naming the known ones.
std::unique_ptr<Store> open_store(const std::string& url, const StoreOptions& options = {});

// Whether it names a directory of this machine.
bool is_local_url(const std::string& url);
// The same for people: without the password that it may hold. What is no URL of ours stays as it is.
std::string shown_url(const std::string& url);

}  // namespace davit::store
