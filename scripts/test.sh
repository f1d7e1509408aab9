#!/bin/bash
# test.sh [JOBS]: all tests, ending with one summary: everything but the scenarios under the address and undefined-behaviour
# sanitizers; the scenarios, engine and crash tests with the programs that are shipped. DAVIT_SOAK=1: full sweeps where else a
# seeded sample runs.
# TESTS: a regular expression of test names, to run some.
set -euo pipefail
cd "$(dirname "$0")/.."
jobs=${1:-$(nproc)}
scripts/packages.sh build test
scripts/build.sh asan "$jobs"
scripts/build.sh release "$jobs"

# One run over both trees. The release preset builds no tests but those of these rooms.
mkdir -p build/test
{
  echo "subdirs($PWD/build/asan)"
  for room in engine crash scenarios; do
    if [ -d "build/release/tests/$room" ]; then echo "subdirs($PWD/build/release/tests/$room)"; fi
  done
} >build/test/CTestTestfile.cmake
exec ctest --test-dir build/test --output-on-failure -j 2 ${TESTS:+-R "$TESTS"}
