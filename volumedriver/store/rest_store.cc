#include "store/rest_store.h"

#include <algorithm>
#include <cerrno>
#include <nlohmann/json.hpp>
#include <string_view>

#include "base/errors.h"
#include "base/patience.h"
#include "store/http_bodies.h"
#include "store/layout.h"
#include "store/spool_draft.h"

namespace davit::store {

namespace {

using base::ByteView;
using wire::HttpResponse;

constexpr const char* kVersion2 = "application/vnd.x.restic.rest.v2";
constexpr size_t kMaxAnswer = 512 << 20;  // a listing is one answer: 90 bytes a file
constexpr size_t kMaxShown = 200;
// A config begins with 16 random bytes: one that begins with the same is of the same writer.
constexpr size_t kNonce = 16;

std::string trimmed(std::string_view text) {
  while (!text.empty() && static_cast<unsigned char>(text.back()) <= ' ') text.remove_suffix(1);
  std::string line(text.substr(0, kMaxShown));
  for (char& c : line)
    if (static_cast<unsigned char>(c) < ' ' || c == 0x7f) c = ' ';
  return line;
}

// Such servers say it in plain words. A page is a proxy's, and so is "404 page not found", which
// routers say of hosts that they do not know.
bool says_absent(const HttpResponse& answer) {
  return answer.status == 404 &&
         answer.find_header("content-type").value_or("").starts_with("text/plain") &&
         trimmed(answer.body) != "404 page not found";
}

}  // namespace

RestStore::RestStore(rest::Address address, RestOptions options)
    : address_(std::move(address)),
      options_(std::move(options)),
      client_("davit", options_.ca_file) {}

// "data/<id>": without the directories that a file system needs.
std::string RestStore::path_of(const Name& name) const {
  if (name.kind == Kind::config) return "config";
  return std::string(directory_name(name.kind)) + "/" + name.id.hex();
}

// Who says 404 shows in the body only, which the answer to a GET has.
bool RestStore::says_why(const HttpResponse& head) const {
  return head.status != 404;
}

HttpResponse RestStore::send(const Call& call) {
  wire::HttpRequest message;
  message.method = call.method;
  message.url = address_.url + call.path;
  for (const auto& [key, value] : call.query)
    message.url += (message.url.find('?') == std::string::npos ? "?" : "&") +
                   wire::percent_encode(key) + "=" + wire::percent_encode(value);
  message.headers = call.headers;
  message.headers.emplace_back("accept", kVersion2);
  rest::Login login = address_.login;
  if (login.user.empty() && login.password.empty() && options_.login) login = options_.login();
  if (!login.user.empty() || !login.password.empty())
    message.headers.emplace_back(
        "authorization",
        "Basic " + base::base64(base::as_bytes(login.user + ":" + login.password)));
  if (call.body) {
    message.headers.emplace_back("content-type", "application/octet-stream");
    message.body_source = body_of(*call.body);
  }
  message.deadlines = options_.deadlines;
  message.stop = base::patience().stop;
  message.grace = call.grace;
  message.max_body_bytes = kMaxAnswer;
  try {
    if (call.sink == nullptr) return client_.send(message);
    return client_.stream(message, *call.sink, *call.head);
  } catch (const base::IoError& error) {
    throw explain(call.what, error, message.url, "rest:http://…");
  }
}

void RestStore::fail(const Call& call, const HttpResponse& answer) {
  const auto error = [&](const std::string& why, int number = 0, bool transient = false) {
    return base::IoError(call.what + ": " + why + " (" + std::to_string(answer.status) + ")",
                         number, transient);
  };
  switch (answer.status) {
    case 401:
      throw error(
          "the server wants another user or password: check RESTIC_REST_USERNAME and "
          "RESTIC_REST_PASSWORD, or their …_FILE",
          EACCES);
    case 403:
      if (call.method == "DELETE")
        throw error(
            "the server does not let this user remove files: it is append-only. Snapshots are "
            "removed and space is freed on the server's side, or with another user",
            EPERM);
      throw error(call.method == "POST"
                      ? "the server does not let this user write there, or not write a file again"
                      : "the server does not let this user read there",
                  EPERM);
    case 404:
      throw error(
          "there is no REST server's repository: check the URL; what answers may be a proxy");
    case 405:
    case 501:
      throw error("this is no server of restic's REST protocol: check the URL");
    case 413:
    case 507:
      throw error(
          "the server has no more room for it, or takes no file of this size: make room there, "
          "or raise the limit",
          ENOSPC);
    default:
      break;
  }
  const std::string words = trimmed(answer.body);
  const bool is_page = answer.find_header("content-type").value_or("").starts_with("text/html");
  throw error(is_page || words.empty() ? "the server refuses" : "the server says: " + words, 0,
              wire::is_transient_status(answer.status));
}

// rclone before 1.66 says 404 of a file, too, that it cannot look up now. Then it still lists it.
bool RestStore::is_absent(const Name& name, const HttpResponse& answer) {
  if (!says_absent(answer)) return false;
  if (name.kind == Kind::config ||
      !answer.find_header("server").value_or("").starts_with("rclone/"))
    return true;
  bool is_listed = false;
  list(name.kind, [&](const FileInfo& file) { is_listed |= file.id == name.id; });
  if (is_listed)
    throw base::IoError(
        to_string(name) + " of " + describe() + " is listed and cannot be reached now (404)", 0,
        true);
  return true;
}

void RestStore::prepare() {
  Call call{"cannot make the repository's place at " + describe(), "POST", ""};
  call.query = {{"create", "true"}};
  call.body = Pieces();
  const HttpResponse answer = send(call);
  if (!answer.ok()) fail(call, answer);
}

void RestStore::put(const Name& name, std::span<const ByteView> pieces) {
  Call call{"cannot write " + to_string(name) + " to " + describe(), "POST", path_of(name)};
  call.body = pieces;
  if (name.kind == Kind::lock) call.grace = kGraceForALock;
  HttpResponse answer = send(call);
  if (answer.status == 403) {
    // It was there already, perhaps by a request of ours whose answer was lost?
    base::Bytes ours;
    for (const ByteView piece : pieces) base::append(ours, piece);
    if (const auto size_bytes = find_size(name)) {
      const bool may_be_ours = *size_bytes <= ours.size();
      const base::Bytes there = may_be_ours ? get(name, ours.size()) : base::Bytes();
      if (may_be_ours && there == ours) return;
      if (name.kind != Kind::config || there.size() < kNonce || there.size() >= ours.size() ||
          !std::equal(there.begin(), there.end(), ours.begin()))
        throw base::Conflict("there is another " + to_string(name) + " in " + describe() +
                             " already, and the server does not let it be replaced");
      // What a request of ours left that was cut.
      remove(name);
      answer = send(call);
    }
  }
  if (answer.ok()) return;
  // Its hash or its length is another.
  if (answer.status == 400)
    throw base::IoError(call.what + ": the server says that it was damaged on the way (400)", 0,
                        true);
  fail(call, answer);
}

std::unique_ptr<Draft> RestStore::begin_draft(Kind kind, size_t expected_bytes) {
  return begin_spooled(*this, options_.spool_directory, kind, expected_bytes);
}

void RestStore::list(Kind kind, const std::function<void(const FileInfo&)>& each) {
  DAVIT_CHECK(kind != Kind::config);
  const Call call{"cannot list the " + std::string(kind_name(kind)) + " files of " + describe(),
                  "GET", std::string(directory_name(kind)) + "/"};
  HttpResponse answer = send(call);
  if (says_absent(answer) && find_size({})) {
    // Copying tools lose empty directories. But rclone before 1.66 says this of every listing that
    // fails behind it, and who believed it would see no locks and no snapshots.
    prepare();
    answer = send(call);
    if (says_absent(answer))
      throw base::IoError(call.what + ": the server cannot list them now (404)", 0, true);
  }
  if (!answer.ok()) fail(call, answer);
  const auto refuse = [&](const std::string& why) {
    throw base::IoError(call.what + ": the server's answer cannot be read: " + why, 0);
  };
  if (!answer.find_header("content-type").value_or("").starts_with(kVersion2))
    refuse("it is not of version 2 of restic's REST protocol");
  // One file after the other; none of them stays in memory.
  using Json = nlohmann::json;
  const auto take = [&](int depth, Json::parse_event_t event, Json& value) {
    if (depth == 0) {
      if (event == Json::parse_event_t::object_start || event == Json::parse_event_t::value)
        if (!value.is_null()) refuse("it is no list");  // null is Go's word for an empty one
      return true;
    }
    if (depth == 1 &&
        (event == Json::parse_event_t::value || event == Json::parse_event_t::array_start))
      refuse("it holds a file without a name or a size");
    if (depth != 1 || event != Json::parse_event_t::object_end) return true;
    if (!value.contains("name") || !value["name"].is_string() || !value.contains("size") ||
        !value["size"].is_number_unsigned())
      refuse("it holds a file without a name or a size");
    if (const auto id = base::Id::parse(value["name"].get<std::string>()))
      each({*id, value["size"].get<uint64_t>()});
    return false;
  };
  if (Json::parse(answer.body, take, false).is_discarded())
    refuse("it ends before its end, or is no JSON");
}

}  // namespace davit::store
