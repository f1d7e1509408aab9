#include "control/control_api.h"

#include "base/errors.h"
#include "control/commands.h"
#include "control/messages.h"
#include "control/metrics.h"

namespace davit::control {

namespace {

constexpr std::string_view kPrefix = "/v1/";

// Runs a command and ends its answer. Throws nothing but what an Output that broke throws away
// itself.
void answer(const Command& command, jobs::Operations& operations, const Request& request,
            Output& output, std::stop_token stop) noexcept {
  int exit_code = kDone;
  try {
    exit_code = command.perform(operations, request, output, stop);
  } catch (...) {
    const Failure failure = describe(std::current_exception());
    exit_code = failure.exit_code;
    output.send_last(error_message(failure));
  }
  output.send_last(exit_message(exit_code));
}

void refuse(Output& output, const Failure& failure) {
  output.send_last(error_message(failure));
  output.send_last(exit_message(failure.exit_code));
}

const Command& get_command(std::string_view method, std::string_view path) {
  if (!path.starts_with(kPrefix))
    throw base::NotFound("the control API has no path '" + std::string(path.substr(0, 64)) + "'");
  const std::string_view name = path.substr(kPrefix.size());
  const Command* command = find_command(name);
  if (command == nullptr)
    throw base::NotFound("this daemon does not know the command '" +
                         std::string(name.substr(0, 64)) +
                         "'; are the client and the daemon of one version?");
  if (method != "POST") throw base::UsageError("commands are asked for with POST");
  return *command;
}

}  // namespace

std::string ControlApi::metrics() {
  return metrics_text(operations_.status());
}

void ControlApi::handle(std::string_view method, std::string_view path, std::string_view body,
                        const Write& write, std::stop_token stop) {
  DirectOutput direct(write, stop);
  try {
    if (path == "/v1/version" && method == "GET") {
      direct.send_last({{"message_type", "version"}, {"version", version_}, {"api", 1}});
      direct.send_last(exit_message(kDone));
    } else {
      const Command& command = get_command(method, path);
      const Request request(body, command.fields);
      if (command.runs == Runs::here) {
        answer(command, operations_, request, direct, stop);
      } else {
        const auto work = [this, &command, request](Output& output, std::stop_token stop_work) {
          answer(command, operations_, request, output, std::move(stop_work));
        };
        const auto when_client_goes = command.runs == Runs::to_its_end
                                          ? Background::WhenClientGoes::go_on
                                          : Background::WhenClientGoes::stop;
        background_.run(command.name, when_client_goes, work, write, stop);
      }
    }
  } catch (...) {
    refuse(direct, describe(std::current_exception()));
  }
  direct.flush();
}

}  // namespace davit::control
