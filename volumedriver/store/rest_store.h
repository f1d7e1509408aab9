// A repository on a server that speaks restic's REST protocol: rest-server, `rclone serve restic`.
//
// What is promised of a file is the server's to keep: rest-server syncs a file and renames it
// before it answers, but for the config, which it writes in place and never again: what was left of
// ours when a connection was cut is removed and sent once more. rclone is as good as what it writes
// to, and into a local directory it writes in place. A file that is there already and is not
// replaced (an append-only server refuses that) must hold the same bytes. Absence is told only by a
// 404 in a REST server's manner, never by a proxy's page, and of rclone, which says it of what it
// cannot reach too, only where no listing has the file.
#pragma once

#include <functional>

#include "store/http_store.h"
#include "store/rest/address.h"

namespace davit::store {

struct RestOptions {
  // Asked for each request where the URL names none, by any thread. May throw UsageError.
  std::function<rest::Login()> login;
  std::string ca_file;          // PEM, instead of the system's authorities; "": those
  std::string spool_directory;  // where drafts lie until they are whole; "": in memory
  wire::Deadlines deadlines = wire::kStoreDeadlines;
};

class RestStore : public HttpStore {
 public:
  using Store::put;

  // Nothing is asked yet.
  RestStore(rest::Address address, RestOptions options);

  void prepare() override;
  void put(const Name& name, std::span<const base::ByteView> pieces) override;
  std::unique_ptr<Draft> begin_draft(Kind kind, size_t expected_bytes) override;
  void list(Kind kind, const std::function<void(const FileInfo&)>& each) override;

  unsigned connections() const override { return 5; }  // as restic
  std::string describe() const override { return rest::to_string(address_); }

 private:
  wire::HttpResponse send(const Call& call) override;
  std::string path_of(const Name& name) const override;
  bool is_absent(const Name& name, const wire::HttpResponse& answer) override;
  bool says_why(const wire::HttpResponse& head) const override;
  [[noreturn]] void fail(const Call& call, const wire::HttpResponse& answer) override;

  const rest::Address address_;
  const RestOptions options_;
  wire::HttpClient client_;
};

}  // namespace davit::store
