// A real S3 server that is away for a while, in the middle of everything; and for longer than
// anybody waits. (With DAVIT_SOAK half a minute, as a restart of a machine's services takes.)
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <thread>

#include "base/crew.h"
#include "base/errors.h"
#include "base/files.h"
#include "base/patience.h"
#include "store/retry_store.h"
#include "store/s3_store.h"
#include "support/ceph.h"
#include "support/ceph_gateway.h"
#include "support/fault_store.h"
#include "support/made_repository.h"
#include "support/restic.h"
#include "support/skip.h"
#include "support/soak.h"
#include "support/tree_manifest.h"
#include "support/volume_fixture.h"
#include "upkeep/check.h"
#include "upkeep/prune.h"

namespace davit::store {
namespace {

using namespace std::chrono_literals;
using test::CephGateway;
using test::FaultStore;
using test::StoreCall;
using test::StoreOp;
using test::VolumeFixture;

class S3Outage : public ::testing::Test {
 protected:
  void begin(const test::Ceph& ceph) {
    const base::PatienceScope patience({15min});  // its calls have little time, and this machine may have much to do
    bucket_ = "/b" + base::make_uuid();
    server_ = ceph.http;
    gateway_ = std::make_unique<CephGateway>(DAVIT_CEPH);
    fixture_ = std::make_unique<VolumeFixture>([this] { return open(gateway_->address()); });
    fixture_->upload.pack_size_bytes = 1 << 20;
    base::make_directories(fixture_->volume("v"));
  }
  void TearDown() override {
    if (restarter_.joinable()) restarter_.join();
  }

  std::shared_ptr<Store> open(const std::string& at) {
    S3Options options;
    options.credentials = test::ceph_keys();
    options.deadlines = {.connect = 1s, .idle = 1s};
    faults_ = std::make_shared<FaultStore>(
        std::make_shared<S3Store>(s3::parse_address("s3:http://" + at + bucket_), options));
    return std::make_shared<RetryStore>(faults_);
  }
  void write(int first, int count) {
    for (int i = first; i < first + count; ++i)
      base::write_file_atomic(fixture_->volume("v") + "/file" + std::to_string(i),
                              base::as_bytes(test::noise(static_cast<uint64_t>(i), 1 << 20)));
  }

  // At the `number`th call of that kind, and back after a while.
  void outage_at(StoreOp op, Kind kind, int number, bool freezes = false) {
    faults_->before_each(
        [=, this, seen = std::make_shared<std::atomic<int>>(0)](const StoreCall& call) {
          if (call.op != op || call.name.kind != kind || ++*seen != number) return;
          ++outages_;
          freezes ? gateway_->freeze() : gateway_->kill();
          restarter_ = std::thread([this, freezes] {
            std::this_thread::sleep_for(test::is_soak() ? 30s : 2s);
            freezes ? gateway_->thaw() : gateway_->start();
          });
        });
  }
  void expect_outage() {
    EXPECT_EQ(outages_, 1);
    outages_ = 0;
    restarter_.join();
    faults_->before_each({});
  }
  void prune() {
    auto& repository = fixture_->repository();
    repository.refresh_index();
    upkeep::PruneOptions options;
    options.max_unused_ratio = 0;
    upkeep::execute_prune(repository, upkeep::plan_prune(repository, options), options,
                          [](const auto& second_phase) { second_phase(); });
  }
  void expect_restored(const base::Id& tree, const std::string& to) {
    fixture_->restore(tree, "v", to);
    EXPECT_EQ(test::manifest_difference(test::tree_manifest(fixture_->volume("v")),
                                        test::tree_manifest(fixture_->volume(to))),
              "");
  }
  // By others, through the gateway that was never away.
  void expect_whole() {
    const auto run = test::Restic("s3:http://" + server_ + bucket_, VolumeFixture::kPassword)
                         .run({"check", "--read-data"},
                              {"AWS_ACCESS_KEY_ID=davit", "AWS_SECRET_ACCESS_KEY=davit-secret"});
    EXPECT_EQ(run.exit_code, 0) << run.output;
  }

  std::string bucket_, server_;
  std::unique_ptr<CephGateway> gateway_;
  std::shared_ptr<FaultStore> faults_;
  std::unique_ptr<VolumeFixture> fixture_;
  std::atomic<int> outages_{0};
  std::thread restarter_;
};

TEST_F(S3Outage, IsWaitedOutInTheMiddleOfEverything) {
  DAVIT_NEEDS_RESTIC();
  DAVIT_NEEDS_CEPH(ceph);
  begin(ceph);
  const base::PatienceScope patience({15min});
  write(0, 6);
  const auto first = fixture_->save("v");

  write(3, 9);  // 3 to 5 as they were, the others new
  outage_at(StoreOp::put, Kind::data, 4);
  const auto second = fixture_->save("v");
  expect_outage();

  outage_at(StoreOp::get_range, Kind::data, 5);
  expect_restored(second.result.tree, "restored");
  expect_outage();

  // It hangs, and the restore notices.
  outage_at(StoreOp::get_range, Kind::data, 3, /*freezes=*/true);
  expect_restored(second.result.tree, "again");
  expect_outage();

  write(0, 2);
  base::remove_file(fixture_->volume("v") + "/file7");
  base::remove_file(fixture_->volume("v") + "/file8");
  const auto third = fixture_->save("v");
  for (const auto& snapshot : {first.snapshot, second.snapshot})
    faults_->remove({Kind::snapshot, snapshot});
  outage_at(StoreOp::remove, Kind::data, 1);
  prune();
  expect_outage();
  expect_restored(third.result.tree, "pruned");
  expect_whole();
}

TEST_F(S3Outage, LongerThanAnybodyWaitsFailsTheRunAndTheNextSendsTheRest) {
  DAVIT_NEEDS_RESTIC();
  DAVIT_NEEDS_CEPH(ceph);
  begin(ceph);
  fixture_->index_cache = fixture_->path() + "/cache";
  fixture_->reopen();
  constexpr int kFiles = 16;
  write(0, kFiles);
  std::atomic<int> packs{0};
  faults_->after_each([&](const StoreCall& call) {
    if (call.op == StoreOp::put && call.name.kind == Kind::data && ++packs == 6) gateway_->kill();
  });
  {
    const base::PatienceScope patience({300ms});
    EXPECT_THROW(fixture_->save("v"), base::IoError);
  }
  gateway_->start();

  fixture_->reopen();
  packs = 0;
  faults_->after_each([&](const StoreCall& call) {
    packs += call.op == StoreOp::put && call.name.kind == Kind::data;
  });
  const base::PatienceScope patience({15min});
  const auto saved = fixture_->save("v");
  // At least six were there, of a MiB or more each.
  EXPECT_LT(saved.counts.data_added_bytes, uint64_t{kFiles - 5} << 20);
  EXPECT_LT(packs, kFiles - 4);
  expect_restored(saved.result.tree, "restored");
  expect_whole();
}

}  // namespace
}  // namespace davit::store
