#include "control/failure.h"

#include <gtest/gtest.h>

#include "base/errors.h"

namespace davit::control {
namespace {

template <typename Exception>
Failure described(const Exception& exception) {
  return describe(std::make_exception_ptr(exception));
}

TEST(Failure, HasResticsExitCodeForEachKindOfError) {
  EXPECT_EQ(described(base::NoRepository("x")).exit_code, 10);
  EXPECT_EQ(described(base::Locked("x")).exit_code, 11);
  EXPECT_EQ(described(base::WrongPassword("x")).exit_code, 12);
  EXPECT_EQ(described(base::Cancelled()).exit_code, 130);
  EXPECT_EQ(described(base::UsageError("x")).exit_code, 1);
  EXPECT_EQ(described(base::NotFound("x")).exit_code, 1);
  EXPECT_EQ(described(base::Conflict("x")).exit_code, 1);
  EXPECT_EQ(described(base::Corrupt("x")).exit_code, 1);
  EXPECT_EQ(described(base::Unsupported("x")).exit_code, 1);
  EXPECT_EQ(described(base::IoError("x", 5)).exit_code, 1);
  EXPECT_EQ(described(std::bad_alloc()).exit_code, 1);
  EXPECT_EQ(described(42).exit_code, 1);
}

TEST(Failure, NamesTheKindForPrograms) {
  EXPECT_STREQ(described(base::NoRepository("x")).kind, "no_repository");
  EXPECT_STREQ(described(base::NotFound("x")).kind, "not_found");
  EXPECT_STREQ(described(base::Locked("x")).kind, "locked");
  EXPECT_STREQ(described(base::Conflict("x")).kind, "conflict");
  EXPECT_STREQ(described(base::IoError("x", 5)).kind, "io");
  EXPECT_STREQ(described(std::runtime_error("x")).kind, "internal");
}

TEST(Failure, KeepsTheMessage) {
  EXPECT_EQ(described(base::Conflict("the volume db is in use")).message,
            "the volume db is in use");
  EXPECT_EQ(described(42).message, "an unknown error");
}

}  // namespace
}  // namespace davit::control
