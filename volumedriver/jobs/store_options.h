// What the settings say about reaching a repository's store: AWS_…, RESTIC_REST_… and RESTIC_CACERT, as restic and
// the AWS SDK have them, and DAVIT_SFTP_….
#pragma once

#include <string>

#include "jobs/settings.h"
#include "store/open.h"

namespace davit::jobs {

// Packs under way lie in `data_directory` where the store takes whole files only. The keys are read again for each request, each from NAME or from the file that NAME_FILE names;
// `settings` must outlive the store. Asking for them throws UsageError saying what to set where
// there are none.
store::StoreOptions store_options(const Settings& settings, const std::string& data_directory);

// Changes when a store must be opened anew. Holds no secret.
std::string describe_store_options(const Settings& settings);

// Where the key for an SFTP server and the keys of such servers are, unless the settings name other files.
std::string default_sftp_key_file(const std::string& data_directory);
std::string default_known_hosts_file(const std::string& data_directory);

}  // namespace davit::jobs
