#include "store/http_store.h"

#include "base/errors.h"
#include "store/http_bodies.h"

namespace davit::store {

using wire::HttpResponse;

HttpStore::Call HttpStore::call_to_read(const Name& name) const {
  return {"cannot read " + to_string(name) + " from " + describe(), "GET", path_of(name)};
}

base::Bytes HttpStore::get(const Name& name, uint64_t max_bytes) {
  WholeBody body(name, max_bytes);
  const wire::HeadSink head = body.head();
  const wire::BodySink sink = body.sink();
  Call call = call_to_read(name);
  call.sink = &sink;
  call.head = &head;
  const HttpResponse answer = send(call);
  if (is_absent(name, answer)) not_found(name);
  if (!answer.ok()) fail(call, answer);
  return body.take();
}

void HttpStore::get_range(const Name& name, uint64_t offset, std::span<uint8_t> out) {
  if (is_settled(*this, name, offset, out.size())) return;
  RangeOfBody range(offset, out);
  const wire::HeadSink head = range.head();
  const wire::BodySink sink = range.sink();
  Call call = call_to_read(name);
  call.headers = {range.header()};
  call.sink = &sink;
  call.head = &head;
  const HttpResponse answer = send(call);
  if (is_absent(name, answer)) not_found(name);
  if (answer.status == 416) too_short(name, offset, out.size());
  if (!answer.ok()) fail(call, answer);
  if (!range.is_whole()) too_short(name, offset, out.size());
}

std::optional<uint64_t> HttpStore::find_size(const Name& name) {
  Call call{"cannot look for " + to_string(name) + " in " + describe(), "HEAD", path_of(name)};
  std::optional<uint64_t> size_bytes;
  const HttpResponse answer = send(call);
  if (answer.ok()) {
    size_bytes = content_length(answer);
  } else {
    if (says_why(answer)) fail(call, answer);
    const wire::HeadSink head = [&](const HttpResponse& found) {
      size_bytes = content_length(found);
    };
    const wire::BodySink sink = [](base::ByteView) {};
    call.method = "GET";
    call.head = &head;
    call.sink = &sink;
    const HttpResponse reason = send(call);
    if (!reason.ok()) {
      if (is_absent(name, reason)) return std::nullopt;
      fail(call, reason);
    }
    // It was made meanwhile, or HEAD is what the server does not know.
  }
  if (!size_bytes) throw base::IoError(call.what + ": the server does not say its size", 0);
  return size_bytes;
}

void HttpStore::remove(const Name& name) {
  const Call call{"cannot remove " + to_string(name) + " from " + describe(), "DELETE",
                  path_of(name)};
  const HttpResponse answer = send(call);
  if (!answer.ok() && !is_absent(name, answer)) fail(call, answer);
}

}  // namespace davit::store
