// Why an S3 server did not do what was asked, in a sentence that says what to do about it.
#pragma once

#include <string>

#include "base/clock.h"
#include "base/errors.h"
#include "store/s3/address.h"
#include "store/s3/answers.h"
#include "wire/http_client.h"

namespace davit::store::s3 {

struct Circumstances {
  const Address& address;
  std::string region;  // for which the request was signed
  base::Time now;      // by this machine's clock
};

// `what` begins the message: "cannot write config to s3:host/bucket". Transient where the same
// request may succeed later without anybody doing anything.
base::IoError explain(const std::string& what, const wire::HttpResponse& answer,
                      const Refusal& refusal, const Circumstances& circumstances);

}  // namespace davit::store::s3
