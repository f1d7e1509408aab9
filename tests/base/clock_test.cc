#include "base/clock.h"

#include <gtest/gtest.h>

#include "base/errors.h"

namespace davit::base {
namespace {

TEST(Clock, Rfc3339GoesThereAndBack) {
  for (const char* text : {"2026-11-21T18:00:00Z", "1970-01-01T00:00:00Z", "1969-12-31T23:59:59.5Z",
                           "2024-02-29T12:34:56.123456789Z"})
    EXPECT_EQ(format_utc(parse_rfc3339(text)), text);
}

TEST(Clock, ZonesAreTakenOff) {
  EXPECT_EQ(format_utc(parse_rfc3339("2026-11-21T18:00:00+05:30")), "2026-11-21T12:30:00Z");
  EXPECT_EQ(format_utc(parse_rfc3339("2026-11-21T18:00:00-08:00")), "2026-11-22T02:00:00Z");
}

TEST(Clock, WhatIsNoTimeIsRefused) {
  for (const char* text : {"", "2026", "2026-11-21", "2026-02-30T00:00:00Z", "2026-11-21T24:00:00Z",
                           "2026-11-21T18:00:00", "2026-11-21T18:00:00Zx", "2026-11-21T18:00:00.Z",
                           "0001-01-01T00:00:00Z", "2026-11-21T18:00:00+25:00"})
    EXPECT_THROW(parse_rfc3339(text), UsageError) << text;
}

}  // namespace
}  // namespace davit::base
