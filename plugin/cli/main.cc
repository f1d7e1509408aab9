// davit: the command line. The client does no work of its own: it asks the daemon, and shows what
// it says.
#include <cstdio>
#include <exception>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "base/errors.h"
#include "cli/arguments.h"
#include "cli/client.h"
#include "cli/completion.h"
#include "cli/docker_plugin.h"
#include "cli/interrupt.h"
#include "cli/terminal.h"
#include "cli/text.h"

namespace davit::cli {
namespace {

constexpr int kFailed = 1, kInterrupted = 130;

// A failure of the client's own. Programs that asked for JSON get it as the daemon would have said
// it.
int fail(const Arguments& arguments, Terminal& out, Terminal& err, const std::string& message,
         int exit_code) {
  err.write("davit: " + message + "\n");
  if (arguments.json) {
    nlohmann::ordered_json error{
        {"message_type", "error"}, {"message", message}, {"kind", "client"}, {"code", exit_code}};
    out.write(error.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n");
    out.write("{\"message_type\":\"exit\",\"exit_code\":" + std::to_string(exit_code) + "}\n");
  }
  return exit_code;
}

// Help, version and mistakes; nothing when the words were understood.
std::optional<int> parse(CLI::App& application, const Invocation& call, Terminal& out,
                         Terminal& err) {
  std::vector<std::string> words(call.arguments.rbegin(), call.arguments.rend());
  try {
    application.parse(words);
  } catch (const CLI::CallForHelp&) {
    out.write(application.help());
    return 0;
  } catch (const CLI::CallForAllHelp&) {
    out.write(application.help("", CLI::AppFormatMode::All));
    return 0;
  } catch (const CLI::CallForVersion& version) {
    out.write(std::string(version.what()) + "\n");
    return 0;
  } catch (const CLI::ParseError& error) {
    const CLI::App* command = &application;
    std::string name = call.called_as;
    while (!command->get_subcommands().empty()) {
      command = command->get_subcommands().front();
      name += " " + command->get_name();
    }
    err.write("davit: " + printable(error.what()) + "\nRun '" + name + " --help'.\n");
    return kFailed;
  }
  return std::nullopt;
}

int run(const std::vector<std::string>& words, Terminal& out, Terminal& err) {
  const Invocation call = understand_call(words);
  const std::string first = call.arguments.empty() ? "" : call.arguments[0];
  if (first == "docker-cli-plugin-metadata") {
    out.write(plugin_metadata());
    return 0;
  }
  if (first == "__complete" || first == "__completeNoDesc") {
    out.write(complete({call.arguments.begin() + 1, call.arguments.end()}, names_of_daemon("")));
    return 0;
  }

  Arguments arguments;
  const auto application = make_application(arguments, call.called_as);
  if (const auto exit_code = parse(*application, call, out, err)) return *exit_code;
  if (arguments.command.empty()) {
    out.write(application->help());
    return 0;
  }
  try {
    if (arguments.command == "completion") {
      out.write(completion_script(arguments.name));
      return 0;
    }
    const Interrupt interrupt;
    return run_command(arguments, out, err, interrupt);
  } catch (const base::Cancelled&) {
    return fail(arguments, out, err, "interrupted", kInterrupted);
  } catch (const std::exception& error) {
    return fail(arguments, out, err, error.what(), kFailed);
  }
}

}  // namespace
}  // namespace davit::cli

int main(int argc, char** argv) {
  using davit::cli::Terminal;
  Terminal out(stdout), err(stderr);
  try {
    const int exit_code = davit::cli::run({argv, argv + argc}, out, err);
    out.flush();
    return exit_code;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "davit: %s\n", error.what());
    return davit::cli::kFailed;
  }
}
