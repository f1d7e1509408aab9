// The driver options of a volume (`docker volume create -o KEY=VALUE`): which there are and what
// they may say. Pure; any thread.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "volumes/registry.h"

namespace davit::driver {

// Throws UsageError when a schedule cannot be read; cron is known above the driver.
using CheckSchedule = std::function<void(const std::string& schedule, const std::string& volume)>;

// In the order in which they are listed to people.
const std::vector<std::string>& known_options();

// Throws UsageError that names the bad option and says what is allowed.
void validate_options(const volumes::OptionMap& options, const std::string& volume,
                      const CheckSchedule& check_schedule);

// final-backup: whether a removed volume is saved once more; `by_default` where the option is not given.
bool wants_final_backup(const volumes::OptionMap& options, bool by_default = true);
// images: whether a new volume made from a snapshot brings the images of its point along.
bool wants_images(const volumes::OptionMap& options, bool by_default = true);

// What a new volume made from a snapshot gets: the options saved with it, less those that this
// davit does not take (they are logged), with the given ones over them. `from` and `images` are the given
// ones only. Empty values count as not given.
volumes::OptionMap merge_options(const volumes::OptionMap& saved, const volumes::OptionMap& given,
                                 const std::string& volume, const CheckSchedule& check_schedule);

}  // namespace davit::driver
