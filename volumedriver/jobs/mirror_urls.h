// DAVIT_MIRRORS: repository URLs, separated by white space or commas; "append-only:" before one
// says that davit never removes anything there. Pure.
#pragma once

#include <string>
#include <vector>

namespace davit::jobs {

struct MirrorUrl {
  std::string url;
  bool append_only = false;
};
// Throws UsageError for what no repository is named by.
std::vector<MirrorUrl> parse_mirrors(const std::string& text);

// The same text with "***" for the passwords that URLs hold (https://USER:PASSWORD@HOST).
std::string hide_passwords(const std::string& text);

}  // namespace davit::jobs
