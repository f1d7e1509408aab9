// The Ceph that ctest starts once for the tests that need an S3 server (tests/store/ceph.sh,
// fixture "ceph").
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "store/s3_store.h"

namespace davit::test {

struct Ceph {
  std::string http, https;  // HOST:PORT; requests name buckets in the path
  std::string named;        // BUCKET.HOST:PORT is a bucket
  std::string ca;           // file of the authority of `https`

  // Nothing where none runs.
  static std::optional<Ceph> find(const std::string& directory);
};

// Keys of ceph.sh's users: "davit", and "stranger", to whom nothing belongs.
std::function<store::s3::Credentials()> ceph_keys(const std::string& user = "davit");

}  // namespace davit::test

// At the beginning of a test; DAVIT_CEPH is the fixture's directory.
#define DAVIT_NEEDS_CEPH(name)                                   \
  const auto found_ceph = ::davit::test::Ceph::find(DAVIT_CEPH); \
  if (!found_ceph) DAVIT_SKIP("no Ceph here: run it by ctest");  \
  const ::davit::test::Ceph& name = *found_ceph
