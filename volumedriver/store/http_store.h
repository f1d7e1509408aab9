// What the stores behind HTTP servers have in common: how a file is read, looked for and removed,
// whatever the server calls it.
#pragma once

#include <chrono>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "store/store.h"
#include "wire/http_client.h"

namespace davit::store {

class HttpStore : public Store {
 public:
  base::Bytes get(const Name& name, uint64_t max_bytes) override;
  void get_range(const Name& name, uint64_t offset, std::span<uint8_t> out) override;
  std::optional<uint64_t> find_size(const Name& name) override;
  void remove(const Name& name) override;

 protected:
  using Pieces = std::span<const base::ByteView>;

  // One request, which may be sent more than once.
  struct Call {
    std::string what;  // "cannot read config from s3:host/bucket", for messages
    std::string method;
    std::string path;  // beneath the repository or bucket; "": that itself
    std::vector<std::pair<std::string, std::string>> query = {};
    std::vector<wire::Header> headers = {};
    std::optional<Pieces> body = {};
    std::optional<base::Id> body_hash = {};  // where it is known
    // Of an answer that is no refusal; without a sink its body is in memory.
    const wire::BodySink* sink = nullptr;
    const wire::HeadSink* head = nullptr;
    std::chrono::milliseconds grace{0};  // HttpRequest::grace
  };
  // Whatever it is answered is no error. Throws Cancelled, UsageError where there is no login, and
  // IoError where there is no answer. Any thread, as all of these.
  virtual wire::HttpResponse send(const Call& call) = 0;
  virtual std::string path_of(const Name& name) const = 0;
  // Whether that answer to a GET or a DELETE says that there is no such file, and can be believed.
  // May ask the server.
  virtual bool is_absent(const Name& name, const wire::HttpResponse& answer) = 0;
  // Whether that refusal of a HEAD, which has no body, is told from absence by itself.
  virtual bool says_why(const wire::HttpResponse& head) const = 0;
  [[noreturn]] virtual void fail(const Call& call, const wire::HttpResponse& answer) = 0;

 private:
  Call call_to_read(const Name& name) const;
};

}  // namespace davit::store
