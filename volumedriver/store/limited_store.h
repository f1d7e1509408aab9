// A store from which no more is read in a second than is allowed: what is restored, checked and
// repacked, packs and index files. Keys, locks and snapshot files, of a few hundred bytes, pass
// freely, so that nobody who takes a lock waits behind a restore. What is written is limited where
// it is made (repo::UploadOptions::reserve).
//
// Nobody waits for its turn longer than its patience (base/patience.h): a call that an engine waits
// for goes ahead then. A request to stop ends the wait with Cancelled. Any thread.
#pragma once

#include <chrono>
#include <functional>
#include <memory>

#include "store/store.h"

namespace davit::store {

// When a transfer of so many bytes may begin: base::Bandwidth::reserve.
using Reserve = std::function<std::chrono::steady_clock::time_point(uint64_t bytes)>;

class LimitedStore : public Store {
 public:
  using Store::put;

  LimitedStore(std::shared_ptr<Store> inner, Reserve reserve)
      : inner_(std::move(inner)), reserve_(std::move(reserve)) {}

  base::Bytes get(const Name& name, uint64_t max_bytes) override;
  void get_range(const Name& name, uint64_t offset, std::span<uint8_t> out) override;

  void prepare() override { inner_->prepare(); }
  void put(const Name& name, std::span<const base::ByteView> pieces) override {
    inner_->put(name, pieces);
  }
  std::unique_ptr<Draft> begin_draft(Kind kind, size_t expected_bytes) override {
    return inner_->begin_draft(kind, expected_bytes);
  }
  std::optional<uint64_t> find_size(const Name& name) override { return inner_->find_size(name); }
  void list(Kind kind, const std::function<void(const FileInfo&)>& each) override {
    inner_->list(kind, each);
  }
  void remove(const Name& name) override { inner_->remove(name); }
  bool heal(const Name& name, const std::function<bool(base::ByteView)>& is_whole) override {
    return inner_->heal(name, is_whole);
  }
  bool is_read_only() override { return inner_->is_read_only(); }
  unsigned connections() const override { return inner_->connections(); }
  std::string describe() const override { return inner_->describe(); }

 private:
  void wait_turn(const Name& name, uint64_t bytes);

  const std::shared_ptr<Store> inner_;
  const Reserve reserve_;
};

}  // namespace davit::store
