// What store/store.h promises, as tests (store_contract.cc) that every store must pass. A store's
// own test file says INSTANTIATE_TEST_SUITE_P(Local, StoreContract,
// ::testing::Values(StoreMaker{…})). A maker that returns nothing lacks the server that it needs.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "store/store.h"

namespace davit::store {

// One place where files are kept, empty at first, that any number of Store objects can open.
struct StorePlace {
  virtual ~StorePlace() = default;
  virtual std::unique_ptr<Store> open() = 0;
};

using StoreMaker = std::function<std::unique_ptr<StorePlace>()>;

class StoreContract : public ::testing::TestWithParam<StoreMaker> {
 protected:
  void SetUp() override;

  static Name name(Kind kind, uint8_t first, uint8_t last = 0);
  static base::Bytes bytes(size_t size, uint8_t salt = 0);
  // Hex names and sizes, sorted.
  static std::vector<std::pair<std::string, uint64_t>> listed(Store& store, Kind kind);

  std::unique_ptr<StorePlace> place_;
  std::unique_ptr<Store> store_;
  static constexpr Kind kAll[] = {Kind::config, Kind::key,      Kind::data,
                                  Kind::index,  Kind::snapshot, Kind::lock};
};

}  // namespace davit::store
