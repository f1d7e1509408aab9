// The way to an engine: finds its socket, agrees with it about the API's version, sends calls, and
// turns refusals into the errors that engine.h names. Private to this room. Any thread may call
// anything.
#pragma once

#include <optional>
#include <stop_token>
#include <string>

#include "base/synchronized.h"
#include "engine/engine.h"
#include "wire/http_client.h"

namespace davit::engine {

// Where an engine listens.
struct Address {
  std::string base_url;     // without a slash at its end
  std::string unix_socket;  // "" for TCP
};

// What is known once an engine has answered.
struct Link {
  Address address;
  Kind kind;
  std::string version;  // "1.41"
};

struct Call {
  std::string method = "GET";
  std::string path = {};  // below the version: "/containers/json?all=1"
  std::string body = {};  // JSON
  wire::Deadlines deadlines = {};
  std::stop_token stop = {};
  // Sent at most once: never again on a new connection when an old one turns out to be dead.
  bool once = false;
  const wire::BodySource* upload = nullptr;  // a tar, instead of `body`
  const wire::BodySink* sink = nullptr;      // for the body of a good answer
};

class Channel {
 public:
  // Throws UsageError for what is no address.
  Channel(const std::string& host, const Patience& patience);

  // Greets the engine where that was not done, or not since the last failure.
  Link link();
  // The good answer (2xx, 304). Throws as engine.h says.
  wire::HttpResponse call(const Call& call);

 private:
  wire::HttpResponse send(const Address& address, const std::string& path, const Call& call);
  Link find();
  Link greet(const Address& address);
  void forget() { link_.lock()->reset(); }

  const std::optional<Address> given_;
  const Patience patience_;
  wire::HttpClient client_;
  base::Synchronized<std::optional<Link>> link_;
};

}  // namespace davit::engine
