#include "jobs/last_backups.h"

#include <gtest/gtest.h>

namespace davit::jobs {
namespace {

TEST(LastBackups, AFailurePausesAndASuccessForgets) {
  LastBackups backups([](const std::string&) { FAIL() << "a minute has not passed"; });
  EXPECT_FALSE(backups.is_pausing("u"));
  backups.failed("u", "the store is away");
  EXPECT_TRUE(backups.is_pausing("u"));
  EXPECT_EQ(backups.failure("u"), "the store is away");
  EXPECT_FALSE(backups.failure("other"));
  backups.succeeded("u");
  EXPECT_FALSE(backups.is_pausing("u"));
  EXPECT_FALSE(backups.failure("u"));
}

}  // namespace
}  // namespace davit::jobs
