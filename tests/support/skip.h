// For a test that lacks what it runs on: says so and ends it. In CI that is a failure, never a silent skip.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>

#define DAVIT_SKIP(reason)                                  \
  do {                                                      \
    if (std::getenv("CI") != nullptr) FAIL() << (reason);   \
    GTEST_SKIP() << (reason);                               \
  } while (false)
