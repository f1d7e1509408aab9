// What a volume may be called: the engines pass anything on, so davit decides.
#pragma once

#include <string>
#include <string_view>

namespace davit::volumes {

// [a-zA-Z0-9][a-zA-Z0-9_.-]*, at most 255 bytes. Throws UsageError that says so.
void validate_name(std::string_view name);
bool is_valid_name(std::string_view name);
// 64 hex digits: what the engines call volumes that nobody named.
bool is_anonymous(std::string_view name);

}  // namespace davit::volumes
