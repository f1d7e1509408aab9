#include "support/memory_store.h"

#include "base/errors.h"
#include "store_contract.h"
#include "support/fault_store.h"

namespace davit::store {
namespace {

struct MemoryPlace : StorePlace {
  std::unique_ptr<Store> open() override { return first.another(); }
  test::MemoryStore first;
};

// Without faults the decorator keeps the contract too.
struct FaultPlace : StorePlace {
  std::unique_ptr<Store> open() override {
    return std::make_unique<test::FaultStore>(first.another());
  }
  test::MemoryStore first;
};

INSTANTIATE_TEST_SUITE_P(Memory, StoreContract,
                         ::testing::Values([]() -> std::unique_ptr<StorePlace> {
                           return std::make_unique<MemoryPlace>();
                         }));
INSTANTIATE_TEST_SUITE_P(Fault, StoreContract,
                         ::testing::Values([]() -> std::unique_ptr<StorePlace> {
                           return std::make_unique<FaultPlace>();
                         }));

TEST(FaultStore, FailsTheCallThatWasNamed) {
  test::FaultStore store(std::make_shared<test::MemoryStore>());
  store.fail_call(2);
  store.put(Name{}, base::as_bytes("a"));
  EXPECT_THROW(store.put(Name{}, base::as_bytes("b")), base::IoError);
  EXPECT_EQ(base::as_text(store.get(Name{}, 10)), "a");
  EXPECT_EQ(store.calls(), 3u);
}

TEST(FaultStore, FailsAboutTheShareAskedFor) {
  test::FaultStore store(std::make_shared<test::MemoryStore>());
  store.fail_share(0.25, 7);
  int failures = 0;
  for (int i = 0; i < 1000; ++i) try {
      store.find_size(Name{});
    } catch (const base::IoError& error) {
      EXPECT_TRUE(error.transient());
      ++failures;
    }
  EXPECT_NEAR(failures, 250, 60);
}

TEST(FaultStore, HooksSeeEachCall) {
  test::FaultStore store(std::make_shared<test::MemoryStore>());
  int before = 0;
  store.before_each([&](const test::StoreCall& call) { before += call.op == test::StoreOp::put; });
  store.after_each([&](const test::StoreCall& call) {
    if (call.op == test::StoreOp::remove) throw base::IoError("after", 0);
  });
  store.put(Name{}, base::as_bytes("a"));
  EXPECT_EQ(before, 1);
  EXPECT_THROW(store.remove(Name{}), base::IoError);
  EXPECT_EQ(store.find_size(Name{}), std::nullopt);  // it happened all the same
}

}  // namespace
}  // namespace davit::store
