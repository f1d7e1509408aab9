#include "store/s3/explain.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <string_view>

namespace davit::store::s3 {

namespace {

template <size_t N>
bool is_one_of(std::string_view code, const std::array<std::string_view, N>& codes) {
  return std::find(codes.begin(), codes.end(), code) != codes.end();
}

// Beside the statuses that say so themselves.
bool is_transient(int status, std::string_view code) {
  static constexpr std::array<std::string_view, 12> kCodes{
      "RequestTimeout", "SlowDown", "InternalError", "ServiceUnavailable", "OperationAborted",
      "Busy", "Throttling", "RequestThrottled",
      // What arrived is not what was sent.
      "BadDigest", "IncompleteBody", "XAmzContentSHA256Mismatch", "ConditionalRequestConflict"};
  return wire::is_transient_status(status) || is_one_of(code, kCodes);
}

bool is_full(int status, std::string_view code) {
  static constexpr std::array<std::string_view, 3> kCodes{"QuotaExceeded", "XMinioStorageFull",
                                                          "XMinioAdminBucketQuotaExceeded"};
  return status == 507 || is_one_of(code, kCodes);
}

std::string server_time(const wire::HttpResponse& answer) {
  return answer.find_header("date").value_or("another time");
}

// "" where the server's own words have to do.
std::string advice(const wire::HttpResponse& answer, const Refusal& refusal,
                   const Circumstances& here) {
  const std::string_view code = refusal.code;
  const std::string& bucket = here.address.bucket;
  const std::string region = !refusal.region.empty()
                                 ? refusal.region
                                 : answer.find_header("x-amz-bucket-region").value_or("");
  if (code == "InvalidAccessKeyId")
    return "the server does not know this access key: check AWS_ACCESS_KEY_ID, and whether this is "
           "the server it is for";
  if (code == "SignatureDoesNotMatch")
    return "the secret key is not that of the access key: check AWS_SECRET_ACCESS_KEY";
  if (code == "ExpiredToken" || code == "InvalidToken" || code == "TokenRefreshRequired")
    return "the session token has expired or is not that of the keys: renew all three, "
           "AWS_SESSION_TOKEN too";
  if (code == "RequestTimeTooSkewed" || code == "RequestExpired")
    return "the clocks differ too much: here it is " +
           base::format_utc(std::chrono::floor<std::chrono::seconds>(here.now)) + ", there " +
           server_time(answer) + ": set this machine's clock (NTP)";
  if (code == "NoSuchBucket")
    return "there is no bucket " + bucket + ": check the URL, or make it with `davit init`";
  if (code == "BucketAlreadyExists")
    return "a bucket " + bucket + " belongs to somebody else: choose another name";
  if (code == "InvalidObjectState")
    return "the file is in an archive class: have the server restore it first, and keep "
           "repositories out of such classes";
  if (code == "IllegalLocationConstraintException" || code == "InvalidLocationConstraint")
    return "the server does not make buckets in the region " + here.region +
           ": set AWS_DEFAULT_REGION to that of the server, or make the bucket by hand";
  if (code == "AuthorizationHeaderMalformed" || code == "PermanentRedirect" ||
      code == "TemporaryRedirect" || (answer.status >= 300 && answer.status < 400)) {
    if (!region.empty() && region != here.region)
      return "the bucket is in the region " + region + ", not in " + here.region +
             ": set AWS_DEFAULT_REGION=" + region +
             (here.address.host.ends_with("amazonaws.com")
                  ? " and name the host s3." + region + ".amazonaws.com"
                  : "");
    if (!refusal.endpoint.empty() || answer.status / 100 == 3)
      return "the bucket is reached at another host" +
             (refusal.endpoint.empty() ? "" : ", " + refusal.endpoint) + ": put that into the URL";
  }
  if (is_full(answer.status, code))
    return "the server has no more room for it: make room there, or raise the quota";
  // The answer to a HEAD has no code.
  if (code == "AccessDenied" || (code.empty() && (answer.status == 401 || answer.status == 403)))
    return "these keys may not do this: they need s3:ListBucket on the bucket " + bucket +
           ", and s3:GetObject, s3:PutObject and s3:DeleteObject in it";
  return "";
}

}  // namespace

base::IoError explain(const std::string& what, const wire::HttpResponse& answer,
                      const Refusal& refusal, const Circumstances& circumstances) {
  std::string text = what + ": ";
  const std::string told = advice(answer, refusal, circumstances);
  if (!told.empty())
    text += told;
  else if (!refusal.message.empty())
    text += "the server says: " + refusal.message;
  else
    text += "the server refuses";
  text +=
      " (" + std::to_string(answer.status) + (refusal.code.empty() ? "" : " " + refusal.code) + ")";
  const int number = is_full(answer.status, refusal.code) ? ENOSPC : 0;
  return base::IoError(text, number, number == 0 && is_transient(answer.status, refusal.code));
}

}  // namespace davit::store::s3
