// An S3 gateway of the test's own, on the Ceph that ctest started (support/ceph.h), which can be
// killed, stopped and started again without disturbing other tests. What is written through one
// gateway is there through all.
#pragma once

#include <memory>
#include <string>

#include "support/program.h"

namespace davit::test {

class CephGateway {
 public:
  // `directory`: the fixture's. Started, and answers. Throws where it does not.
  explicit CephGateway(std::string directory);
  ~CephGateway();

  std::string address() const { return "127.0.0.1:" + std::to_string(port_); }

  // At once, as a power cut does it.
  void kill();
  // On the same port; returns when it answers.
  void start();
  // It takes connections and says nothing.
  void freeze();
  void thaw();

 private:
  std::string note() const { return directory_ + "/run/radosgw." + std::to_string(port_) + ".pid"; }

  const std::string directory_;
  const int port_;
  std::unique_ptr<Program> program_;
};

}  // namespace davit::test
