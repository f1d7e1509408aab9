#include "store/s3_store.h"

#include "base/errors.h"
#include "base/patience.h"
#include "crypto/sha256.h"
#include "store/http_bodies.h"
#include "store/layout.h"
#include "store/s3/answers.h"
#include "store/s3/explain.h"
#include "store/spool_draft.h"

namespace davit::store {

namespace {

using base::ByteView;
using wire::HttpResponse;

constexpr size_t kMaxAnswer = 16 << 20;  // a page of a listing is some hundred KiB
constexpr const char* kFirstRegion = "us-east-1";

base::Id hash_of(std::span<const ByteView> pieces) {
  crypto::Sha256 hash;
  for (const ByteView piece : pieces) hash.update(piece);
  return hash.finish();
}

}  // namespace

S3Store::S3Store(s3::Address address, S3Options options)
    : address_(std::move(address)),
      options_(std::move(options)),
      client_("davit", options_.ca_file),
      region_(!options_.region.empty() ? options_.region : s3::region_of_host(address_.host)) {}

std::string S3Store::path_of(const Name& name) const {
  return key_of(relative_path(name));
}

bool S3Store::is_absent(const Name&, const HttpResponse& answer) {
  return answer.status == 404 && s3::parse_refusal(answer.body).code == "NoSuchKey";
}

// Refusals of a HEAD do not say whether the file, the bucket or a right is missing; those of a GET
// do.
bool S3Store::says_why(const HttpResponse& head) const {
  return wire::is_transient_status(head.status);
}

std::string S3Store::key_of(const std::string& path) const {
  return address_.prefix.empty() ? path : address_.prefix + "/" + path;
}

HttpResponse S3Store::send_once(const Call& call, const std::string& region, base::Time now) {
  if (!options_.credentials)
    throw base::UsageError("there are no keys for " + describe() +
                           ": set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY");
  const s3::Place place = s3::place_of(address_, options_.style, call.path);
  s3::Request request{call.method, place.host, place.path, call.query, call.headers};
  const base::Id payload = call.body_hash ? *call.body_hash : hash_of(call.body.value_or(Pieces()));
  request.headers.emplace_back("x-amz-content-sha256", payload.hex());
  // What was read from a file or typed may hold anything; a header may not.
  s3::sign(request, payload.hex(), options_.credentials(), {region}, now);

  const std::string query = s3::encode_query(request.query);
  wire::HttpRequest message;
  message.method = request.method;
  message.url =
      address_.scheme + "://" + place.host + place.path + (query.empty() ? "" : "?" + query);
  message.headers = std::move(request.headers);
  if (call.body) message.body_source = body_of(*call.body);
  message.deadlines = options_.deadlines;
  message.stop = base::patience().stop;
  message.grace = call.grace;
  message.max_body_bytes = kMaxAnswer;
  try {
    if (call.sink == nullptr) return client_.send(message);
    return client_.stream(message, *call.sink, *call.head);
  } catch (const base::IoError& error) {
    throw explain(call.what, error, message.url, "s3:http://…");
  }
}

HttpResponse S3Store::send(const Call& call) {
  std::string region = *region_.lock();
  if (region.empty()) region = kFirstRegion;
  HttpResponse answer = send_once(call, region, options_.now());
  if (!answer.ok() && options_.region.empty() && learn_region(answer, region))
    answer = send_once(call, *region_.lock(), options_.now());
  return answer;
}

// True where the bucket is in another region than was thought, and the server says in which.
bool S3Store::learn_region(const HttpResponse& answer, const std::string& used) {
  std::string region = s3::parse_refusal(answer.body).region;
  if (region.empty()) region = answer.find_header("x-amz-bucket-region").value_or("");
  if (region.empty() || region == used) return false;
  *region_.lock() = region;
  return true;
}

void S3Store::fail(const Call& call, const HttpResponse& answer) {
  std::string region = *region_.lock();
  if (region.empty()) region = kFirstRegion;
  throw s3::explain(call.what, answer, s3::parse_refusal(answer.body),
                    {address_, region, options_.now()});
}

void S3Store::prepare() {
  const Call call{"cannot look at " + describe(),
                  "GET",
                  "",
                  {{"list-type", "2"}, {"max-keys", "1"}, {"prefix", key_of("config")}}};
  const HttpResponse answer = send(call);
  if (answer.ok()) return;
  const std::string code = s3::parse_refusal(answer.body).code;
  if (code == "NoSuchBucket") return make_bucket();
  // Keys that may not list may be enough to write with; what they may not do will be told then.
  if (code == "AccessDenied") return;
  fail(call, answer);
}

void S3Store::make_bucket() {
  const std::string region = *region_.lock();
  const std::string body =
      region.empty() || region == kFirstRegion
          ? ""
          : "<CreateBucketConfiguration "
            "xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><LocationConstraint>" +
                region + "</LocationConstraint></CreateBucketConfiguration>";
  const ByteView bytes = base::as_bytes(body);
  Call call{"cannot make the bucket of " + describe(), "PUT", ""};
  call.body = std::span(&bytes, 1);
  HttpResponse answer = send(call);
  if (!body.empty() && s3::parse_refusal(answer.body).code == "InvalidLocationConstraint") {
    // The server has regions of its own, or none: where it makes buckets by itself will do.
    call.body = Pieces();
    answer = send(call);
  }
  if (!answer.ok() && s3::parse_refusal(answer.body).code != "BucketAlreadyOwnedByYou")
    fail(call, answer);
}

void S3Store::put(const Name& name, std::span<const ByteView> pieces) {
  Call call{"cannot write " + store::to_string(name) + " to " + describe(), "PUT", path_of(name)};
  call.body = pieces;
  if (name.kind == Kind::lock) call.grace = kGraceForALock;
  // The server compares it with what arrives: so what was damaged since it was hashed is refused.
  if (name.is_hash) call.body_hash = name.id;
  call.headers = {{"content-type", "application/octet-stream"}};
  // All other names are made of what is in the file, so that writing one again changes nothing.
  if (name.kind == Kind::config) call.headers.emplace_back("if-none-match", "*");
  HttpResponse answer = send(call);
  if (answer.status == 501 && name.kind == Kind::config) {  // it does not know that
    call.headers.pop_back();
    answer = send(call);
  }
  if (answer.status == 412) {
    // It was there already: by a request of ours whose answer was lost, or by somebody else's.
    base::Bytes ours;
    for (const ByteView piece : pieces) base::append(ours, piece);
    if (find_size(name) == ours.size() && get(name, ours.size()) == ours) return;
    throw base::Conflict("there is another " + store::to_string(name) + " in " + describe() +
                         " already: was a repository made there at the same moment?");
  }
  if (!answer.ok()) fail(call, answer);
}

std::unique_ptr<Draft> S3Store::begin_draft(Kind kind, size_t expected_bytes) {
  return begin_spooled(*this, options_.spool_directory, kind, expected_bytes);
}

void S3Store::list(Kind kind, const std::function<void(const FileInfo&)>& each) {
  DAVIT_CHECK(kind != Kind::config);
  const std::string top = key_of("");
  const std::string prefix = top + directory_name(kind) + "/";
  Call call{"cannot list the " + std::string(kind_name(kind)) + " files of " + describe(), "GET",
            ""};
  std::string token;
  for (;;) {
    call.query = {{"list-type", "2"},
                  {"encoding-type", "url"},
                  {"max-keys", std::to_string(options_.files_per_page)},
                  {"prefix", prefix}};
    if (!token.empty()) call.query.emplace_back("continuation-token", token);
    const HttpResponse answer = send(call);
    if (!answer.ok()) fail(call, answer);
    const s3::Listing page = s3::parse_listing(answer.body);
    for (const auto& object : page.objects) {
      if (!object.key.starts_with(top)) continue;
      if (const auto id =
              parse_relative_path(kind, std::string_view(object.key).substr(top.size())))
        each({*id, object.size_bytes});
    }
    if (page.next.empty()) return;
    if (page.next == token)
      throw base::IoError(call.what + ": the server gives the same page again and again", 0);
    token = page.next;
  }
}

}  // namespace davit::store
