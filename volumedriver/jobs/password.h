// Where the repository's password comes from: RESTIC_PASSWORD, _FILE, _COMMAND, else a file that davit makes at its
// first start. A password is returned by value and kept by nobody but the caller; no error holds it.
#pragma once

#include <optional>
#include <string>

#include "jobs/settings.h"

namespace davit::jobs {

// Throws UsageError saying what to set where there is none.
std::string read_password(const Settings& settings, const std::string& data_directory);
// The file it is read from; nothing: it comes from the environment or a command.
std::optional<std::string> find_password_file(const Settings& settings, const std::string& data_directory);
// Changes when another password may be meant; holds no secret.
std::string describe_password_source(const Settings& settings, const std::string& data_directory);
// Makes a random one where the default file is meant and missing. True when it did.
bool make_password_if_missing(const Settings& settings, const std::string& data_directory);
// Replaces the file's content, durably.
void write_password_file(const std::string& path, const std::string& password);

}  // namespace davit::jobs
