#include "store/rest_store.h"

#include <cerrno>
#include <algorithm>
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

// "data/<id>": without the directories that a file system needs.
std::string path_of(const Name& name) {
  if (name.kind == Kind::config) return "config";
  return std::string(directory_name(name.kind)) + "/" + name.id.hex();
}

std::string trimmed(std::string_view text) {
  while (!text.empty() && static_cast<unsigned char>(text.back()) <= ' ') text.remove_suffix(1);
  std::string line(text.substr(0, kMaxShown));
  for (char& c : line)
    if (static_cast<unsigned char>(c) < ' ' || c == 0x7f) c = ' ';
  return line;
}

// Such servers say it in plain words. A page is a proxy's, and so is "404 page not found", which
// routers say of hosts that they do not know.
bool is_absent(const HttpResponse& answer) {
  return answer.status == 404 &&
         answer.find_header("content-type").value_or("").starts_with("text/plain") &&
         trimmed(answer.body) != "404 page not found";
}

[[noreturn]] void not_found(const Name& name) {
  throw base::NotFound("the repository has no " + to_string(name));
}

}  // namespace

struct RestStore::Call {
  std::string what;  // "cannot read config from rest:https://host/", for messages
  std::string method;
  std::string path;  // beneath the repository
  std::vector<wire::Header> headers = {};
  const std::span<const ByteView>* body = nullptr;
  // Of an answer that is no refusal; without a sink its body is in memory.
  const wire::BodySink* sink = nullptr;
  const wire::HeadSink* head = nullptr;
  std::chrono::seconds grace{0};
};

RestStore::RestStore(rest::Address address, RestOptions options)
    : address_(std::move(address)),
      options_(std::move(options)),
      client_("davit", options_.ca_file) {}

HttpResponse RestStore::send(const Call& call) {
  wire::HttpRequest message;
  message.method = call.method;
  message.url = address_.url + call.path;
  message.headers = call.headers;
  message.headers.emplace_back("accept", kVersion2);
  rest::Login login = address_.login;
  if (login.user.empty() && login.password.empty() && options_.login) login = options_.login();
  if (!login.user.empty() || !login.password.empty())
    message.headers.emplace_back(
        "authorization",
        "Basic " + base::base64(base::as_bytes(login.user + ":" + login.password)));
  if (call.body != nullptr) {
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
    std::string text = call.what + ": " + error.what();
    if (dynamic_cast<const wire::Untrusted*>(&error) != nullptr)
      text +=
          "; where the server's certificate is your own, name the file of its authority in "
          "RESTIC_CACERT; a server without TLS is named rest:http://…";
    else if (error.number() == ECONNREFUSED)
      text += "; does the server run, and is the port right?";
    throw base::IoError(text, error.number(), error.transient());
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
bool RestStore::is_gone(const Name& name, const HttpResponse& answer) {
  if (!is_absent(answer)) return false;
  if (name.kind == Kind::config ||
      !answer.find_header("server").value_or("").starts_with("rclone/"))
    return true;
  bool is_listed = false;
  list(name.kind, [&](const FileInfo& file) { is_listed |= file.id == name.id; });
  if (is_listed)
    throw base::IoError(
        to_string(name) + " of " + describe() + " is listed and cannot be read now (404)", 0, true);
  return true;
}

void RestStore::prepare() {
  const std::span<const ByteView> nothing;
  Call call{"cannot make the repository's place at " + describe(), "POST", "?create=true"};
  call.body = &nothing;
  const HttpResponse answer = send(call);
  if (!answer.ok()) fail(call, answer);
}

void RestStore::put(const Name& name, std::span<const ByteView> pieces) {
  Call call{"cannot write " + to_string(name) + " to " + describe(), "POST", path_of(name)};
  call.body = &pieces;
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
  if (options_.spool_directory.empty()) return Store::begin_draft(kind, expected_bytes);
  return std::make_unique<SpoolDraft>(*this, options_.spool_directory);
}

base::Bytes RestStore::get(const Name& name, uint64_t max_bytes) {
  WholeBody body(name, max_bytes);
  const wire::HeadSink head = body.head();
  const wire::BodySink sink = body.sink();
  Call call{"cannot read " + to_string(name) + " from " + describe(), "GET", path_of(name)};
  call.sink = &sink;
  call.head = &head;
  const HttpResponse answer = send(call);
  if (is_gone(name, answer)) not_found(name);
  if (!answer.ok()) fail(call, answer);
  return body.take();
}

void RestStore::get_range(const Name& name, uint64_t offset, std::span<uint8_t> out) {
  const auto too_short = [&] {
    throw base::Corrupt(to_string(name) + " ends before " + std::to_string(offset) + " + " +
                        std::to_string(out.size()) + " bytes");
  };
  // What no Range header can say, nor the servers' 63 bits.
  if (out.empty() || offset > static_cast<uint64_t>(INT64_MAX) - out.size()) {
    const auto size_bytes = find_size(name);
    if (!size_bytes) not_found(name);
    if (offset > *size_bytes || !out.empty()) too_short();
    return;
  }
  RangeOfBody range(offset, out);
  const wire::HeadSink head = range.head();
  const wire::BodySink sink = range.sink();
  Call call{"cannot read " + to_string(name) + " from " + describe(), "GET", path_of(name)};
  call.headers = {range.header()};
  call.sink = &sink;
  call.head = &head;
  const HttpResponse answer = send(call);
  if (is_gone(name, answer)) not_found(name);
  if (answer.status == 416) too_short();
  if (!answer.ok()) fail(call, answer);
  if (!range.is_whole()) too_short();
}

std::optional<uint64_t> RestStore::find_size(const Name& name) {
  Call call{"cannot look for " + to_string(name) + " in " + describe(), "HEAD", path_of(name)};
  const HttpResponse answer = send(call);
  if (answer.ok()) {
    if (const auto size_bytes = content_length(answer)) return size_bytes;
    throw base::IoError(call.what + ": the server does not say its size", 0);
  }
  if (answer.status != 404) fail(call, answer);
  // Who says so shows in the body only, which the answer to a GET has.
  std::optional<uint64_t> size_bytes;
  const wire::HeadSink head = [&](const HttpResponse& found) {
    size_bytes = content_length(found);
  };
  const wire::BodySink sink = [](ByteView) {};
  call.method = "GET";
  call.head = &head;
  call.sink = &sink;
  const HttpResponse reason = send(call);
  if (is_gone(name, reason)) return std::nullopt;
  if (!reason.ok()) fail(call, reason);
  // It was made meanwhile, or HEAD is what the server does not know.
  if (!size_bytes) throw base::IoError(call.what + ": the server does not say its size", 0);
  return size_bytes;
}

void RestStore::list(Kind kind, const std::function<void(const FileInfo&)>& each) {
  DAVIT_CHECK(kind != Kind::config);
  const Call call{"cannot list the " + std::string(kind_name(kind)) + " files of " + describe(),
                  "GET", std::string(directory_name(kind)) + "/"};
  HttpResponse answer = send(call);
  if (is_absent(answer) && find_size({})) {
    // Copying tools lose empty directories. But rclone before 1.66 says this of every listing that
    // fails behind it, and who believed it would see no locks and no snapshots.
    prepare();
    answer = send(call);
    if (is_absent(answer))
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

void RestStore::remove(const Name& name) {
  const Call call{"cannot remove " + to_string(name) + " from " + describe(), "DELETE",
                  path_of(name)};
  const HttpResponse answer = send(call);
  if (!answer.ok() && !is_absent(answer)) fail(call, answer);
}

}  // namespace davit::store
