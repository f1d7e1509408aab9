#include "jobs/store_options.h"

#include "base/errors.h"
#include "base/files.h"

namespace davit::jobs {

namespace {

std::string read_secret(const Settings& settings, const std::string& key) {
  if (std::string value = settings.get(key); !value.empty()) return value;
  const std::string file = settings.get(key + "_FILE");
  if (file.empty()) return "";
  const auto bytes = base::find_file(file, 1 << 16);
  if (!bytes) throw base::UsageError("there is no file " + file + ", which " + key + "_FILE names");
  const std::string text(base::as_text(*bytes));
  const size_t first = text.find_first_not_of(" \t\r\n");
  if (first == std::string::npos)
    throw base::UsageError("the file " + file + ", which " + key + "_FILE names, is empty");
  return text.substr(first, text.find_first_of(" \t\r\n", first) - first);
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
  options.s3_style = store::s3::parse_style(settings.get("DAVIT_S3_BUCKET_LOOKUP"));
  options.ca_file = settings.get("RESTIC_CACERT");
  return options;
}

std::string describe_store_options(const Settings& settings) {
  return region(settings) + "\n" + settings.get("DAVIT_S3_BUCKET_LOOKUP") + "\n" +
         settings.get("RESTIC_CACERT") + "\n" + settings.get("RESTIC_CACHE_DIR");
}

}  // namespace davit::jobs
