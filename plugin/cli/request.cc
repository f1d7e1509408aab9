#include "cli/request.h"

#include "base/errors.h"
#include "cli/secret.h"

namespace davit::cli {

namespace {

void put(Json& body, const char* field, const std::string& value) {
  if (!value.empty()) body[field] = value;
}
void put(Json& body, const char* field, bool value) {
  if (value) body[field] = true;
}

Json options_of(const std::vector<std::string>& pairs) {
  Json options = Json::object();
  for (const std::string& pair : pairs) {
    const size_t equals = pair.find('=');
    if (equals == std::string::npos || equals == 0)
      throw base::UsageError("'-o " + printable(pair) + "': an option is given as KEY=VALUE");
    options[pair.substr(0, equals)] = pair.substr(equals + 1);
  }
  return options;
}

std::string new_password(const Arguments& arguments, const Interrupt& interrupt) {
  if (!arguments.password_file.empty()) return read_secret_file(arguments.password_file);
  return read_secret("New password", /*twice=*/true, interrupt);
}

Request config_request(const Arguments& arguments, const Interrupt& interrupt) {
  Request request;
  Json& body = request.body;
  const bool of_volume = !arguments.volume.empty();
  if (arguments.command == "config list" || arguments.command == "config get") {
    request.path = of_volume ? "/v1/status" : "/v1/settings";
    return request;
  }
  request.path = of_volume ? "/v1/set-volume-option" : "/v1/set-setting";
  put(body, "volume", arguments.volume);
  body["key"] = arguments.name;
  if (arguments.command == "config set")
    body["value"] = arguments.value_given ? arguments.value : read_value(arguments.name, interrupt);
  return request;
}

}  // namespace

Request make_request(const Arguments& arguments, const Interrupt& interrupt) {
  const std::string& command = arguments.command;
  if (command.starts_with("config ")) return config_request(arguments, interrupt);
  Request request;
  request.path = "/v1/" + command;
  Json& body = request.body;
  if (command == "backup") {
    body["volumes"] = arguments.names;
    if (!arguments.containers.empty()) body["containers"] = arguments.containers;
    request.outlives_client = true;
  } else if (command == "restore" && !arguments.container.empty()) {
    request.path = "/v1/restore-container";
    body["reference"] = arguments.container;
    put(body, "as", arguments.target);
    put(body, "volumes", arguments.volumes);
    put(body, "no_publish", arguments.no_publish);
    put(body, "start", arguments.start);
    put(body, "dry_run", arguments.dry_run);
    request.outlives_client = true;
  } else if (command == "restore") {
    body["reference"] = arguments.reference;
    put(body, "target", arguments.target);
    put(body, "in_place", arguments.in_place);
    if (!arguments.options.empty()) body["options"] = options_of(arguments.options);
    request.outlives_client = true;
  } else if (command == "wait") {
    body["volume"] = arguments.name;
  } else if (command == "snapshots") {
    put(body, "volume", arguments.name);
    put(body, "container", arguments.container);
    put(body, "host", arguments.host);
  } else if (command == "points") {
    put(body, "name", arguments.name);
    put(body, "host", arguments.host);
  } else if (command == "ls") {
    body["reference"] = arguments.reference;
    put(body, "path", arguments.path);
    put(body, "recursive", arguments.recursive);
  } else if (command == "forget") {
    body["targets"] = arguments.names;
    put(body, "dry_run", arguments.dry_run);
    std::map<std::string, std::string> policy = arguments.policy;
    for (const std::string& tags : arguments.keep_tags) {
      std::string& all = policy["keep-tag"];
      all += (all.empty() ? "" : " ") + tags;
    }
    if (!policy.empty()) body["policy"] = policy;
  } else if (command == "prune") {
    put(body, "dry_run", arguments.dry_run);
  } else if (command == "check") {
    put(body, "read_data", arguments.read_data);
    put(body, "subset", arguments.subset);
  } else if (command == "repair") {
    put(body, "read_data", arguments.read_data);
    put(body, "forget", arguments.forget);
    put(body, "dry_run", arguments.dry_run);
    request.outlives_client = true;
  } else if (command == "unlock") {
    put(body, "all", arguments.remove_all);
  } else if (command == "mirrors sync") {
    request.path = "/v1/mirrors-sync";
  } else if (command == "mirrors accept") {
    request.path = "/v1/mirrors-accept";
    body["mirror"] = arguments.name;
  } else if (command == "key list") {
    request.path = "/v1/key-list";
  } else if (command == "key add" || command == "key passwd") {
    request.path = command == "key add" ? "/v1/key-add" : "/v1/key-passwd";
    body["new_password"] = new_password(arguments, interrupt);
  } else if (command == "key remove") {
    request.path = "/v1/key-remove";
    body["id"] = arguments.name;
  } else if (command == "key export") {
    request.path = "/v1/key-export";
  } else if (command == "version") {
    request.method = "GET";
  }
  return request;  // status, init, metrics, mirrors: no fields
}

}  // namespace davit::cli
