#include "protocol/volume_plugin.h"

#include <nlohmann/json.hpp>

#include "base/errors.h"
#include "base/log.h"

namespace davit::protocol {

namespace {

using nlohmann::json;

constexpr const char* kContentType = "application/vnd.docker.plugins.v1.1+json";

void answer(http::Responder& responder, int status, const json& body) {
  // A message may quote bytes that are no UTF-8.
  responder.send(status, kContentType,
                 body.dump(-1, ' ', false, json::error_handler_t::replace) + "\n");
}

// For the log: quoted, and on one line whatever it holds.
std::string shown(const std::string& name) {
  return json(name).dump(-1, ' ', true, json::error_handler_t::replace);
}

// What was asked is no call: the body is empty or makes no sense.
class BadCall : public base::UsageError {
 public:
  using UsageError::UsageError;
};

// Not just any NotFound: a repository may be missing, too.
class NoSuchVolume : public base::NotFound {
 public:
  using NotFound::NotFound;
};

// Podman names its host "plugin" and a content type; Docker leaves the one empty (or puts another)
// and the other away.
bool is_podman(const http::Request& request) {
  return request.find_header("Host") == "plugin" || request.find_header("Content-Type").has_value();
}

}  // namespace

struct VolumePlugin::Call {
  std::string name, id;
  volumes::OptionMap options;
  driver::Budget budget;

  // Throws BadCall.
  void read(const std::string& body) try {
    if (body.empty())
      throw BadCall(
          "the request came without its body, as an engine repeats one whose connection broke; "
          "nothing was done");
    const json request = json::parse(body);
    name = request.at("Name").get<std::string>();
    if (name.empty()) throw BadCall("the request names no volume");
    if (const auto found = request.find("ID"); found != request.end() && !found->is_null())
      id = found->get<std::string>();
    if (const auto found = request.find("Opts"); found != request.end() && !found->is_null())
      options = found->get<volumes::OptionMap>();
  } catch (const json::exception& error) {
    throw BadCall(std::string("the request cannot be understood: ") + error.what());
  }
};

struct VolumePlugin::Route {
  const char* path;
  bool is_named;                                  // about one volume: the body must say which
  enum { at_once, when_ready, if_ready } driver;  // if_ready: run without one if need be
  json (*run)(driver::Driver*, const Call&);
};

const VolumePlugin::Route* VolumePlugin::find_route(const std::string& path) {
  static const Route kRoutes[] = {
      {"/Plugin.Activate", false, Route::at_once,
       [](driver::Driver*, const Call&) {
         return json{{"Implements", {"VolumeDriver"}}};
       }},
      {"/VolumeDriver.Capabilities", false, Route::at_once,
       [](driver::Driver*, const Call&) {
         return json{{"Capabilities", {{"Scope", "local"}}}, {"Err", ""}};
       }},
      {"/VolumeDriver.Create", true, Route::when_ready,
       [](driver::Driver* driver, const Call& call) {
         driver->create(call.name, call.options, call.budget);
         return json{{"Err", ""}};
       }},
      {"/VolumeDriver.Remove", true, Route::when_ready,
       [](driver::Driver* driver, const Call& call) {
         driver->remove(call.name);
         return json{{"Err", ""}};
       }},
      {"/VolumeDriver.Path", true, Route::when_ready,
       [](driver::Driver* driver, const Call& call) {
         return json{{"Mountpoint", driver->path(call.name)}, {"Err", ""}};
       }},
      {"/VolumeDriver.Mount", true, Route::when_ready,
       [](driver::Driver* driver, const Call& call) {
         std::string path = driver->mount(call.name, call.id, call.budget);
         if (!path.starts_with("/"))
           throw base::Error("volume " + call.name + " has no directory to mount");
         return json{{"Mountpoint", std::move(path)}, {"Err", ""}};
       }},
      {"/VolumeDriver.Unmount", true, Route::if_ready,
       [](driver::Driver* driver, const Call& call) {
         if (driver) driver->unmount(call.name, call.id);
         return json{{"Err", ""}};
       }},
      {
          "/VolumeDriver.Get",
          true,
          Route::when_ready,
          [](driver::Driver* driver, const Call& call) {
            const auto found = driver->get(call.name);
            if (!found) throw NoSuchVolume("there is no volume " + call.name);
            json volume = {
                {"Name", call.name}, {"Mountpoint", found->mountpoint}, {"Status", json::object()}};
            for (const auto& [key, value] : found->status) volume["Status"][key] = value;
            if (found->created)
              volume["CreatedAt"] =
                  base::format_utc(*found->created);  // "" would be "no such volume"
            return json{{"Volume", std::move(volume)}, {"Err", ""}};
          },
      },
      {"/VolumeDriver.List", false, Route::when_ready,
       [](driver::Driver* driver, const Call&) {
         json volumes = json::array();
         for (const driver::VolumeInfo& volume : driver->list())
           volumes.push_back({{"Name", volume.name}, {"Mountpoint", volume.mountpoint}});
         return json{{"Volumes", std::move(volumes)}, {"Err", ""}};
       }},
  };
  for (const Route& route : kRoutes)
    if (path == route.path) return &route;
  return nullptr;
}

void VolumePlugin::open(driver::Driver& driver) {
  driver_ = &driver;
  gate_.open();
}

void VolumePlugin::refuse(const std::string& why) {
  refusal_.with([&](std::string& refusal) { refusal = why; });
  gate_.open();
}

driver::Budget VolumePlugin::budget_of(const http::Request& request) const {
  const Budgets budgets = budgets_();
  return {std::chrono::steady_clock::now() + (is_podman(request) ? budgets.podman : budgets.docker),
          request.stop};
}

driver::Driver* VolumePlugin::wait_for_driver(const driver::Budget& budget) {
  if (!gate_.wait(budget.deadline, budget.stop)) return nullptr;
  if (driver::Driver* driver = driver_) return driver;
  throw base::Conflict(refusal_.with([](const std::string& why) { return why; }));
}

// This is the catch site of the calls: whatever was thrown below becomes an answer here, or a
// hang-up.
void VolumePlugin::handle(const http::Request& request, http::Responder& responder) {
  const std::string path = request.target.substr(0, request.target.find('?'));
  const Route* route = find_route(path);
  if (!route) return answer(responder, 404, {{"Err", "davit knows no call " + path}});
  const bool is_get = path == "/VolumeDriver.Get";
  Call call;
  call.budget = budget_of(request);
  json result;
  try {
    if (route->is_named && !(route->driver == Route::if_ready && request.body.empty()))
      call.read(request.body);
    driver::Driver* driver = nullptr;
    if (route->driver == Route::when_ready) {
      driver = wait_for_driver(call.budget);
      if (!driver) {
        spdlog::warn("{} {} gets no answer: davit is not ready yet", path, shown(call.name));
        return responder.hang_up();
      }
    } else if (route->driver == Route::if_ready && !call.name.empty()) {
      driver = driver_;
    }
    result = route->run(driver, call);
  } catch (const base::Cancelled&) {
    return responder.hang_up();
  } catch (const NoSuchVolume& error) {
    return answer(responder, 500, {{"Err", error.what()}});
  } catch (const std::exception& error) {
    spdlog::warn("{} {} failed{}: {}", path, shown(call.name), is_get ? " and gets no answer" : "",
                 error.what());
    return is_get ? responder.hang_up() : answer(responder, 500, {{"Err", error.what()}});
  }
  answer(responder, 200, result);
}

}  // namespace davit::protocol
