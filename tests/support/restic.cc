#include "support/restic.h"

#include <cstdlib>
#include <utility>

#include "base/errors.h"

namespace davit::test {

namespace {

std::string binary() {
  const char* other = std::getenv("DAVIT_RESTIC");
  return other != nullptr && *other != '\0' ? other : "restic";
}

}  // namespace

Restic::Restic(std::string repository, std::string password, std::string program)
    : repository_(std::move(repository)),
      password_(std::move(password)),
      program_(program.empty() ? binary() : std::move(program)) {}

bool Restic::is_installed() {
  static const bool installed = [] {
    try {
      return test::run({binary(), "version"}).exit_code == 0;
    } catch (const base::Error&) {
      return false;
    }
  }();
  return installed;
}

std::map<std::string, std::string> Restic::settings() const {
  return {{"RESTIC_REPOSITORY", repository_},
          {"RESTIC_PASSWORD", password_},
          {"RESTIC_PROGRESS_FPS", "0"}};
}

ResticRun Restic::run(const std::vector<std::string>& arguments,
                      const std::vector<std::string>& environment) const {
  std::vector<std::string> words{program_, "--no-cache", "--quiet"};
  words.insert(words.end(), arguments.begin(), arguments.end());
  auto all = settings();
  for (const std::string& setting : environment) {
    const size_t equals = setting.find('=');
    all[setting.substr(0, equals)] = setting.substr(equals + 1);
  }
  Program program(words, all);
  Outcome outcome = program.wait(std::chrono::minutes(10));
  return {outcome.exit_code, outcome.output + outcome.errors};
}

std::unique_ptr<Program> Restic::start(std::vector<std::string> arguments) const {
  const std::string first[] = {program_, "--no-cache"};
  arguments.insert(arguments.begin(), std::begin(first), std::end(first));
  return std::make_unique<Program>(arguments, settings());
}

const std::string& restic_018() {
  static const std::string path = [] {
    Program script({TESTENGINES "/restic.sh"});
    const Outcome outcome = script.wait(std::chrono::minutes(14));
    const std::string path = outcome.output.substr(0, outcome.output.find('\n'));
    if (outcome.exit_code != 0 || path.empty())
      throw base::Error("cannot get restic 0.18: " + outcome.errors);
    const Outcome version = test::run({path, "version"});
    if (version.output.find("restic 0.18") == std::string::npos)
      throw base::Error(path + " is no restic 0.18: " + version.output + version.errors);
    return path;
  }();
  return path;
}

std::string version_name(const testing::TestParamInfo<ResticVersion>& info) {
  return info.param == ResticVersion::v018 ? "v018" : "installed";
}

std::string restic_program(ResticVersion version) {
  return version == ResticVersion::v018 ? restic_018() : "";
}

testing::AssertionResult succeeded(const Outcome& outcome) {
  if (outcome.exit_code == 0) return testing::AssertionSuccess();
  return testing::AssertionFailure() << "exit code " << outcome.exit_code << "\n"
                                     << outcome.output << outcome.errors;
}

}  // namespace davit::test
