// The command line: what may be said, as a CLI11 application, and what was said, as plain values.
#pragma once

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace davit::cli {

struct Arguments {
  std::string socket;
  bool json = false, quiet = false, verbose = false;

  std::vector<std::string> names;  // volumes, snapshot IDs
  std::string name;                // a volume, key, shell, setting
  std::string reference, path, host;
  std::string container;  // restore and snapshots --container
  std::string value;
  bool value_given = false;
  std::string target;             // restore --as
  std::string volumes;             // restore --volumes
  std::string volume;  // config --volume
  std::string password_file;
  std::string subset;             // check --read-data-subset
  std::vector<std::string> options;           // restore -o k=v
  std::map<std::string, std::string> policy;  // keep-…
  std::vector<std::string> keep_tags;
  std::vector<std::string> containers;  // backup --container
  bool in_place = false, start = false, no_publish = false, dry_run = false, read_data = false, forget = false, remove_all = false, recursive = false,
       long_format = false;

  std::string command;  // that was said: "backup", "key add", …; "": none
};

// The retention options, as restic names them.
const std::vector<std::pair<std::string, std::string>>& keep_options();

// `arguments` is filled when the application parses; it must outlive it. `called_as`: "davit" or
// "docker davit".
std::unique_ptr<CLI::App> make_application(Arguments& arguments, const std::string& called_as);

}  // namespace davit::cli
