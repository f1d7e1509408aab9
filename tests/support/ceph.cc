#include "support/ceph.h"

#include <map>
#include <sstream>

#include "base/files.h"

namespace davit::test {

std::optional<Ceph> Ceph::find(const std::string& directory) {
  const auto bytes = base::find_file(directory + "/s3");
  if (!bytes) return std::nullopt;
  std::map<std::string, std::string> values;
  std::istringstream text{std::string(base::as_text(*bytes))};
  for (std::string line; std::getline(text, line);)
    if (const size_t equals = line.find('='); equals != line.npos)
      values[line.substr(0, equals)] = line.substr(equals + 1);
  return Ceph{values["HTTP"], values["HTTPS"], values["NAMED"], values["CA"]};
}

std::function<store::s3::Credentials()> ceph_keys(const std::string& user) {
  return [user] { return store::s3::Credentials{user, user + "-secret", ""}; };
}

}  // namespace davit::test
