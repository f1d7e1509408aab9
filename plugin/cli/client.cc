#include "cli/client.h"

#include <optional>

#include "base/errors.h"
#include "cli/daemon_socket.h"
#include "cli/progress.h"
#include "cli/request.h"
#include "cli/view.h"

namespace davit::cli {

namespace {

Json parse_message(std::string_view line) {
  Json message = Json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (text(message, "message_type").empty())
    throw base::Corrupt("what answers on the socket does not speak davit's language: '" +
                        printable(line.substr(0, 80)) +
                        "'; are the client and the daemon of one version? (davit version)");
  return message;
}

// Takes the lines of an answer, for a person or for a program.
class Reader {
 public:
  Reader(const Arguments& arguments, Terminal& out, Terminal& err)
      : arguments_(arguments),
        out_(out),
        err_(err),
        progress_(err, style(arguments, err)),
        view_(make_view({out, err, arguments.quiet, arguments.verbose, base::SystemClock().now()},
                        arguments)) {}

  void line(std::string_view line) {
    if (exit_code_) return;  // nothing comes behind the exit line
    const Json message = parse_message(line);
    const std::string type = text(message, "message_type");
    if (arguments_.json && !(arguments_.quiet && type == "status")) {
      out_.write(std::string(line) + "\n");
      if (type != "node") out_.flush();  // programs read along
    }
    if (type == "exit") {
      const auto code = message.find("exit_code");
      const bool valid = code != message.end() && code->is_number_unsigned() && *code <= 255;
      exit_code_ = valid ? code->get<int>() : 1;
    } else if (type == "error") {
      progress_.clear();
      err_.write("davit: " + printable(text(message, "message")) + advice(message) + "\n");
    } else if (type == "status") {
      if (!arguments_.json) progress_.update(message);
    } else if (!arguments_.json) {
      progress_.clear();
      view_->message(message);
    }
  }

  int finish() {
    progress_.clear();
    if (!exit_code_) throw base::Corrupt("the daemon's answer broke off");
    return arguments_.json ? *exit_code_ : view_->finish(*exit_code_);
  }

  void clear_progress() { progress_.clear(); }

 private:
  static Progress::Style style(const Arguments& arguments, const Terminal& err) {
    if (arguments.json || arguments.quiet) return Progress::Style::none;
    if (err.is_terminal()) return Progress::Style::bars;
    return arguments.verbose ? Progress::Style::phases : Progress::Style::none;
  }

  // What the daemon cannot know: which words of the command line would have helped.
  std::string advice(const Json& error) const {
    const bool own_name = arguments_.target.empty() && !arguments_.in_place && arguments_.container.empty();
    if (arguments_.command == "restore" && own_name && text(error, "kind") == "conflict")
      return "; restore beside it with --as NEW, or over it with --in-place";
    return "";
  }

  const Arguments& arguments_;
  Terminal& out_;
  Terminal& err_;
  Progress progress_;
  const std::unique_ptr<View> view_;
  std::optional<int> exit_code_;
};

// How somebody can watch the work that a command left behind.
std::string how_to_watch(const Arguments& arguments) {
  if (arguments.command == "repair") return "davit status";
  if (arguments.command == "backup")
    return arguments.names.size() == 1 ? "davit wait " + arguments.names[0] : "davit status";
  std::string volume = arguments.target;
  if (volume.empty()) {
    volume = arguments.reference.substr(0, arguments.reference.find('@'));
    volume.erase(0, volume.rfind(':') + 1);
  }
  return "davit wait " + volume;
}

// Both versions; that nobody answers is no failure here.
int show_versions(const Arguments& arguments, Terminal& out, const Interrupt& interrupt) {
  std::string daemon, problem;
  try {
    const base::Fd socket = connect_to_daemon(socket_candidates(arguments.socket));
    Exchange request{"GET", "/v1/version", "", &interrupt, {}};
    exchange(socket, request, [&](std::string_view line) {
      const Json message = parse_message(line);
      if (text(message, "message_type") == "version") daemon = text(message, "version");
    });
  } catch (const base::Error& error) {
    problem = error.what();
  }
  if (arguments.json) {
    nlohmann::ordered_json message{{"message_type", "version"}, {"client", DAVIT_VERSION}};
    if (!daemon.empty()) message["daemon"] = daemon;
    out.write(message.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n");
    out.write("{\"message_type\":\"exit\",\"exit_code\":0}\n");
    return 0;
  }
  out.write("client  " + std::string(DAVIT_VERSION) + "\n");
  out.write("daemon  " + (daemon.empty() ? "does not answer" : printable(daemon)) + "\n");
  if (arguments.verbose && !problem.empty()) out.write(problem + "\n");
  return 0;
}

}  // namespace

int run_command(const Arguments& arguments, Terminal& out, Terminal& err,
                const Interrupt& interrupt) {
  if (arguments.command == "version") return show_versions(arguments, out, interrupt);
  const base::Fd socket = connect_to_daemon(socket_candidates(arguments.socket));
  const Request wanted = make_request(arguments, interrupt);
  const Exchange request{wanted.method,
                         wanted.path,
                         wanted.body.dump(-1, ' ', false, Json::error_handler_t::replace),
                         &interrupt,
                         {}};
  Reader reader(arguments, out, err);
  const auto leave = [&](const char* goes_on) {
    reader.clear_progress();
    if (wanted.outlives_client)
      err.write("davit: the " + arguments.command + goes_on + printable(how_to_watch(arguments)) +
                "\n");
  };
  try {
    exchange(socket, request, [&](std::string_view line) { reader.line(line); });
    return reader.finish();
  } catch (const base::Cancelled&) {
    leave(" goes on in the daemon; watch it with: ");
    throw;
  } catch (const base::Error&) {
    leave(" may go on; see with: ");
    throw;
  }
}

}  // namespace davit::cli
