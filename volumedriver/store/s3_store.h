// A repository in a bucket of an S3 server (AWS, Ceph, MinIO, …), laid out as restic does beneath a
// prefix.
//
// One PUT makes a file, so that it is whole or absent; the server checks its SHA-256 before it
// answers. Where a server knows If-None-Match, of two hosts that make a repository in one place at
// once only one succeeds. A bucket that does not exist is an error, never an empty repository;
// prepare() makes it.
#pragma once

#include <functional>

#include "base/clock.h"
#include "base/synchronized.h"
#include "store/http_store.h"
#include "store/s3/address.h"
#include "store/s3/signature.h"

namespace davit::store {

struct S3Options {
  // Asked for each request, by any thread, so that keys may change meanwhile. May throw UsageError.
  std::function<s3::Credentials()> credentials;
  std::string region;  // "": as the host's name or the server tells, else us-east-1
  s3::Style style = s3::Style::path;
  std::string ca_file;             // PEM, instead of the system's authorities; "": those
  std::string spool_directory;     // where drafts lie until they are whole; "": in memory
  unsigned files_per_page = 1000;  // of a listing; servers give fewer as they like
  wire::Deadlines deadlines = wire::kStoreDeadlines;
  std::function<base::Time()> now = [] { return base::SystemClock().now(); };
};

class S3Store : public HttpStore {
 public:
  using Store::put;

  // Nothing is asked yet.
  S3Store(s3::Address address, S3Options options);

  // Makes the bucket where there is none, as restic does.
  void prepare() override;
  void put(const Name& name, std::span<const base::ByteView> pieces) override;
  std::unique_ptr<Draft> begin_draft(Kind kind, size_t expected_bytes) override;
  void list(Kind kind, const std::function<void(const FileInfo&)>& each) override;

  unsigned connections() const override { return 8; }
  std::string describe() const override { return s3::to_string(address_); }

 private:
  wire::HttpResponse send(const Call& call) override;
  std::string path_of(const Name& name) const override;
  bool is_absent(const Name& name, const wire::HttpResponse& answer) override;
  bool says_why(const wire::HttpResponse& head) const override;
  [[noreturn]] void fail(const Call& call, const wire::HttpResponse& answer) override;
  std::string key_of(const std::string& path) const;
  wire::HttpResponse send_once(const Call& call, const std::string& region, base::Time now);
  bool learn_region(const wire::HttpResponse& answer, const std::string& used);
  void make_bucket();

  const s3::Address address_;
  const S3Options options_;
  wire::HttpClient client_;
  base::Synchronized<std::string> region_;
};

}  // namespace davit::store
