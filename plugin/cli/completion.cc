#include "cli/completion.h"

#include <algorithm>
#include <map>
#include <set>

#include "base/errors.h"
#include "cli/arguments.h"
#include "cli/daemon_socket.h"
#include "cli/text.h"

namespace davit::cli {

namespace {

// Cobra's directives.
constexpr const char* kFiles = ":0\n";  // the shell may offer files
constexpr const char* kNoFiles = ":4\n";

enum class Kind { none, file, volume, container, setting, shell };

// What a positional argument or an option's value is, by its type_name.
Kind kind_of(const CLI::Option& option) {
  static const std::map<std::string, Kind> kKinds{
      {"VOLUME", Kind::volume}, {"VOLUME|ID", Kind::volume}, {"REFERENCE", Kind::volume},
      {"VOLUME|CONTAINER", Kind::volume},
      {"FILE", Kind::file},     {"KEY", Kind::setting},      {"SHELL", Kind::shell},
      {"CONTAINER", Kind::container}};
  const auto found = kKinds.find(option.get_type_name());
  return found == kKinds.end() ? Kind::none : found->second;
}

bool takes_value(const CLI::Option& option) {
  return option.get_items_expected_max() > 0;
}

// The option of a command or of those above it that is written like this; nothing for an unknown
// one.
const CLI::Option* find_option(const CLI::App* app, const std::string& word) {
  for (; app != nullptr; app = app->get_parent())
    for (const CLI::Option* option :
         app->get_options([](const CLI::Option* each) { return each->nonpositional(); }))
      if (option->check_name(word)) return option;
  return nullptr;
}

class Candidates {
 public:
  explicit Candidates(std::string typed) : typed_(std::move(typed)) {}

  void add(const std::string& candidate, const std::string& description = "") {
    if (!candidate.starts_with(typed_) || !known_.insert(candidate).second) return;
    text_ += candidate;
    if (!description.empty()) text_ += "\t" + printable(description);
    text_ += "\n";
  }
  void add_all(Kind kind, const Names& names, const std::string& prefix = "") {
    if (kind == Kind::shell)
      for (const char* shell : {"bash", "zsh", "fish"}) add(prefix + shell);
    if (kind == Kind::volume)
      for (const std::string& volume : names.volumes()) add(prefix + volume);
    if (kind == Kind::container)
      for (const std::string& container : names.containers()) add(prefix + container);
    if (kind == Kind::setting)
      for (const std::string& setting : names.settings()) add(prefix + setting);
  }
  const std::string& text() const { return text_; }

 private:
  const std::string typed_;
  std::set<std::string> known_;
  std::string text_;
};

void add_options(Candidates& candidates, const CLI::App* app) {
  for (; app != nullptr; app = app->get_parent()) {
    for (const CLI::Option* option :
         app->get_options([](const CLI::Option* each) { return each->nonpositional(); }))
      for (const std::string& name : option->get_lnames())
        candidates.add("--" + name, option->get_description());
  }
}

// Where the words before the current one lead.
struct Place {
  const CLI::App* app;
  const CLI::Option* wants_value = nullptr;
  size_t positionals = 0;
};

Place follow(const CLI::App& root, const std::vector<std::string>& words) {
  Place place{&root};
  for (size_t i = 0; i + 1 < words.size(); ++i) {
    const std::string& word = words[i];
    if (place.wants_value != nullptr) {
      if (word == "=") continue;  // bash takes --option=value apart
      place.wants_value = nullptr;
    } else if (word.starts_with("-")) {
      if (word.find('=') != std::string::npos) continue;
      const CLI::Option* option = find_option(place.app, word);
      if (option != nullptr && takes_value(*option)) place.wants_value = option;
    } else if (const auto subcommands = place.app->get_subcommands(
                   [&](const CLI::App* each) { return each->get_name() == word; });
               !subcommands.empty() && place.positionals == 0) {
      place.app = subcommands.front();
    } else {
      ++place.positionals;
    }
  }
  return place;
}

}  // namespace

std::string complete(const std::vector<std::string>& words, const Names& names) {
  Arguments arguments;
  const auto root = make_application(arguments, "davit");
  const Place place = follow(*root, words);
  std::string typed = words.empty() ? "" : words.back();
  if (place.wants_value != nullptr && typed == "=") typed.clear();  // bash again

  Kind kind = Kind::none;
  Candidates candidates(typed);
  const size_t equals = typed.find('=');
  if (place.wants_value != nullptr) {
    kind = kind_of(*place.wants_value);
    candidates.add_all(kind, names);
  } else if (typed.starts_with("--") && equals != std::string::npos) {
    const CLI::Option* option = find_option(place.app, typed.substr(0, equals));
    if (option != nullptr) kind = kind_of(*option);
    candidates.add_all(kind, names, typed.substr(0, equals + 1));
  } else if (typed.starts_with("-")) {
    add_options(candidates, place.app);
  } else {
    for (const CLI::App* command : place.app->get_subcommands([](const CLI::App*) { return true; }))
      candidates.add(command->get_name(), command->get_description());
    const auto positionals =
        place.app->get_options([](const CLI::Option* each) { return each->get_positional(); });
    if (!positionals.empty()) {
      const bool last_repeats = positionals.back()->get_items_expected_max() > 1;
      if (place.positionals < positionals.size())
        kind = kind_of(*positionals[place.positionals]);
      else if (last_repeats)
        kind = kind_of(*positionals.back());
    }
    candidates.add_all(kind, names);
  }
  return candidates.text() + (kind == Kind::file ? kFiles : kNoFiles);
}

Names names_of_daemon(const std::string& socket_option) {
  const auto ask = [socket_option](const char* path, const char* type, const char* field) {
    std::vector<std::string> names;
    try {
      Exchange request{"POST", path, "{}", nullptr,
                       std::chrono::steady_clock::now() + std::chrono::seconds(1)};
      exchange(
          connect_to_daemon(socket_candidates(socket_option)), request, [&](std::string_view line) {
            const Json message = Json::parse(line, nullptr, false);
            const std::string name = text(message, field);
            // A name that needs escapes would be no help to a shell.
            if (text(message, "message_type") == type && !name.empty() && printable(name) == name)
              names.push_back(name);
          });
    } catch (const base::Error&) {  // no daemon, no names: the shell must not show errors
      names.clear();
    }
    return names;
  };
  return {[ask] { return ask("/v1/status", "volume", "name"); },
          [ask] { return ask("/v1/settings", "setting", "key"); },
          [ask] {
            auto names = ask("/v1/status", "container", "name");  // those that are here
            for (auto& saved : ask("/v1/snapshots", "snapshot", "container")) names.push_back(std::move(saved));
            return names;
          }};
}

}  // namespace davit::cli
