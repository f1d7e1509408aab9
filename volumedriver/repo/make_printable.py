#!/usr/bin/env python3
"""Writes printable.cc from a list of ranges "first-last" (hex) of the code points from U+0080 on that restic leaves as they are in names.

    make_printable.py ../../tests/data/isprint-go1.24.txt > printable.cc
"""
import sys

ranges = []
for line in open(sys.argv[1]):
    line = line.strip()
    if line and not line.startswith("#"):
        first, _, last = line.partition("-")
        ranges.append((int(first, 16), int(last or first, 16)))
low = [r for r in ranges if r[0] < 0x10000]
high = [r for r in ranges if r[0] >= 0x10000]
assert all(last < 0x10000 for _, last in low)


def table(name, kind, rows):
    print(f"constexpr {kind} {name}[] = {{")
    line = "   "
    for first, last in rows:
        cell = f" {{0x{first:x}, 0x{last:x}}},"
        if len(line) + len(cell) > 100:
            print(line)
            line = "   "
        line += cell
    print(line)
    print("};")


print("""// Made by make_printable.py; do not edit. Unicode 15.0: general categories L, M, N, P and S.
#include "repo/printable.h"

#include <algorithm>
#include <cstdint>
#include <iterator>

namespace davit::repo {
namespace {

struct Range16 {
  uint16_t first, last;
};
struct Range32 {
  uint32_t first, last;
};

// clang-format off""")
table("kLow", "Range16", low)
table("kHigh", "Range32", high)
print("""// clang-format on

template <typename Range, size_t size>
bool contains(const Range (&ranges)[size], char32_t code_point) {
  const Range* after = std::upper_bound(std::begin(ranges), std::end(ranges), code_point,
                                        [](char32_t value, const Range& range) { return value < range.first; });
  return after != ranges && code_point <= after[-1].last;
}

}  // namespace

bool is_printable(char32_t code_point) {
  if (code_point < 0x80) return code_point >= 0x20 && code_point < 0x7f;
  return code_point < 0x10000 ? contains(kLow, code_point) : contains(kHigh, code_point);
}

}  // namespace davit::repo""")
