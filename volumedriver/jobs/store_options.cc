#include "jobs/store_options.h"

#include "base/errors.h"
#include "base/files.h"

namespace davit::jobs {

namespace {

// Where a secret in a file ends: what is typed may hold blanks.
enum class Ends : uint8_t { word, line };

std::string read_secret(const Settings& settings, const std::string& key, Ends ends = Ends::word) {
  if (std::string value = settings.get(key); !value.empty()) return value;
  const std::string file = settings.get(key + "_FILE");
  if (file.empty()) return "";
  const auto bytes = base::find_file(file, 1 << 16);
  if (!bytes) throw base::UsageError("there is no file " + file + ", which " + key + "_FILE names");
  const std::string text(base::as_text(*bytes));
  const size_t first = text.find_first_not_of(ends == Ends::word ? " \t\r\n" : "\r\n");
  if (first == std::string::npos)
    throw base::UsageError("the file " + file + ", which " + key + "_FILE names, is empty");
  const char* const end = ends == Ends::word ? " \t\r\n" : "\r\n";
  return text.substr(first, text.find_first_of(end, first) - first);
}

std::string required_secret(const Settings& settings, const std::string& key) {
  std::string value = read_secret(settings, key);
  if (value.empty())
    throw base::UsageError("there is no key for the S3 server: set " + key + ", or " + key +
                           "_FILE to a file that holds it");
  return value;
}

std::string region(const Settings& settings) {
  const std::string region = settings.get("AWS_DEFAULT_REGION");
  return !region.empty() ? region : settings.get("AWS_REGION");
}

}  // namespace

store::StoreOptions store_options(const Settings& settings, const std::string& data_directory) {
  store::StoreOptions options;
  options.spool_directory = data_directory;
  options.s3_credentials = [&settings] {
    return store::s3::Credentials{required_secret(settings, "AWS_ACCESS_KEY_ID"),
                                  required_secret(settings, "AWS_SECRET_ACCESS_KEY"),
                                  read_secret(settings, "AWS_SESSION_TOKEN")};
  };
  options.s3_region = region(settings);
  const auto file = [&settings](const std::string& key, const std::string& otherwise) {
    const std::string name = settings.get(key);
    return name.empty() ? otherwise : name;
  };
  options.sftp_key_file = file("DAVIT_SFTP_KEY_FILE", default_sftp_key_file(data_directory));
  options.sftp_known_hosts_file =
      file("DAVIT_SFTP_KNOWN_HOSTS_FILE", default_known_hosts_file(data_directory));
  options.sftp_passphrase = [&settings] {
    return read_secret(settings, "DAVIT_SFTP_KEY_PASSPHRASE", Ends::line);
  };
  options.rest_login = [&settings] {
    return store::rest::Login{settings.get("RESTIC_REST_USERNAME"),
                              read_secret(settings, "RESTIC_REST_PASSWORD", Ends::line)};
  };
  options.s3_style = store::s3::parse_style(settings.get("DAVIT_S3_BUCKET_LOOKUP"));
  options.ca_file = settings.get("RESTIC_CACERT");
  return options;
}

std::string describe_store_options(const Settings& settings) {
  return region(settings) + "\n" + settings.get("DAVIT_S3_BUCKET_LOOKUP") + "\n" +
         settings.get("RESTIC_CACERT") + "\n" + settings.get("DAVIT_SFTP_KEY_FILE") + "\n" +
         settings.get("DAVIT_SFTP_KNOWN_HOSTS_FILE") + "\n" + settings.get("RESTIC_REST_USERNAME") + "\n" +
         settings.get("RESTIC_CACHE_DIR");
}

std::string default_sftp_key_file(const std::string& data_directory) {
  return data_directory + "/secrets/sftp-key";
}

std::string default_known_hosts_file(const std::string& data_directory) {
  return data_directory + "/secrets/known_hosts";
}

}  // namespace davit::jobs
