#include "jobs/password.h"

#include <sys/stat.h>

#include <array>
#include <cstdio>
#include <memory>

#include "base/errors.h"
#include "base/files.h"

namespace davit::jobs {

using base::UsageError;

namespace {

std::string default_file(const std::string& data_directory) {
  return data_directory + "/secrets/repository-password";
}

// restic's rule: the first line counts, without its end.
std::string first_line(std::string text) {
  text = text.substr(0, text.find('\n'));
  while (!text.empty() && text.back() == '\r') text.pop_back();
  return text;
}

std::string run_command(const std::string& command) {
  struct Close {
    void operator()(FILE* file) const { ::pclose(file); }
  };
  FILE* raw = ::popen(command.c_str(), "re");
  if (raw == nullptr) throw UsageError("RESTIC_PASSWORD_COMMAND cannot be run");
  std::unique_ptr<FILE, Close> pipe(raw);
  std::string output;
  std::array<char, 4096> buffer;
  while (const size_t got = std::fread(buffer.data(), 1, buffer.size(), pipe.get())) {
    output.append(buffer.data(), got);
    if (output.size() > 1 << 16) throw UsageError("RESTIC_PASSWORD_COMMAND prints more than a password");
  }
  if (::pclose(pipe.release()) != 0) throw UsageError("RESTIC_PASSWORD_COMMAND failed");
  return first_line(output);
}

}  // namespace

std::optional<std::string> find_password_file(const Settings& settings, const std::string& data_directory) {
  if (!settings.get("RESTIC_PASSWORD").empty()) return std::nullopt;
  if (const std::string file = settings.get("RESTIC_PASSWORD_FILE"); !file.empty()) return file;
  if (!settings.get("RESTIC_PASSWORD_COMMAND").empty()) return std::nullopt;
  return default_file(data_directory);
}

std::string read_password(const Settings& settings, const std::string& data_directory) {
  if (const std::string password = settings.get("RESTIC_PASSWORD"); !password.empty()) return password;
  const auto file = find_password_file(settings, data_directory);
  if (!file) {
    const std::string password = run_command(settings.get("RESTIC_PASSWORD_COMMAND"));
    if (password.empty()) throw UsageError("RESTIC_PASSWORD_COMMAND printed no password");
    return password;
  }
  const auto bytes = base::find_file(*file, 1 << 16);
  if (!bytes)
    throw UsageError("there is no password file " + *file +
                     ": put the repository's password there (mode 0600), or set RESTIC_PASSWORD_FILE");
  const std::string password = first_line(std::string(base::as_text(*bytes)));
  if (password.empty()) throw UsageError("the password file " + *file + " is empty");
  return password;
}

std::string describe_password_source(const Settings& settings, const std::string& data_directory) {
  const auto file = find_password_file(settings, data_directory);
  if (!file) return settings.get("RESTIC_PASSWORD").empty() ? "command" : "environment";
  struct stat status {};
  if (::stat(file->c_str(), &status) != 0) return *file;
  return *file + " " + std::to_string(status.st_mtim.tv_sec) + "." + std::to_string(status.st_mtim.tv_nsec) + " " +
         std::to_string(status.st_ino);
}

bool make_password_if_missing(const Settings& settings, const std::string& data_directory) {
  const auto file = find_password_file(settings, data_directory);
  if (!file || *file != default_file(data_directory) || base::find_file(*file)) return false;
  std::array<uint8_t, 24> secret;
  base::random_fill(secret);
  base::make_directories(data_directory + "/secrets", 0700);
  base::write_file_atomic(data_directory + "/secrets/generated",
                          base::as_bytes("made by davit; this note goes with the first `davit key export`\n"));
  write_password_file(*file, base::base64(secret));
  return true;
}

void write_password_file(const std::string& path, const std::string& password) {
  base::write_file_atomic(path, base::as_bytes(password + "\n"), 0600);
}

}  // namespace davit::jobs
