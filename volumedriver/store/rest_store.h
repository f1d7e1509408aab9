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

#include "store/rest/address.h"
#include "store/store.h"
#include "wire/http_client.h"

namespace davit::store {

struct RestOptions {
  // Asked for each request where the URL names none, by any thread. May throw UsageError.
  std::function<rest::Login()> login;
  std::string ca_file;          // PEM, instead of the system's authorities; "": those
  std::string spool_directory;  // where drafts lie until they are whole; "": in memory
  wire::Deadlines deadlines{.connect = std::chrono::seconds(15), .idle = std::chrono::minutes(2)};
};

class RestStore : public Store {
 public:
  using Store::put;

  // Nothing is asked yet.
  RestStore(rest::Address address, RestOptions options);

  void prepare() override;
  void put(const Name& name, std::span<const base::ByteView> pieces) override;
  std::unique_ptr<Draft> begin_draft(Kind kind, size_t expected_bytes) override;
  base::Bytes get(const Name& name, uint64_t max_bytes) override;
  void get_range(const Name& name, uint64_t offset, std::span<uint8_t> out) override;
  std::optional<uint64_t> find_size(const Name& name) override;
  void list(Kind kind, const std::function<void(const FileInfo&)>& each) override;
  void remove(const Name& name) override;

  unsigned connections() const override { return 5; }  // as restic
  std::string describe() const override { return rest::to_string(address_); }

 private:
  struct Call;

  wire::HttpResponse send(const Call& call);
  bool is_gone(const Name& name, const wire::HttpResponse& answer);
  [[noreturn]] void fail(const Call& call, const wire::HttpResponse& answer);

  const rest::Address address_;
  const RestOptions options_;
  wire::HttpClient client_;
};

}  // namespace davit::store
