// What libcurl's codes mean for whoever asks again.
#pragma once

#include <curl/curl.h>

namespace davit::wire {

// The same request may succeed later. `os_error`: CURLINFO_OS_ERRNO.
bool is_transient(CURLcode code, long os_error);
// See Untrusted.
bool is_untrusted(CURLcode code);

}  // namespace davit::wire
