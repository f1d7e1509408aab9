#!/bin/bash
# build.sh PRESET [JOBS]: configures and builds everything of a preset; prints little unless it fails.
set -euo pipefail
cd "$(dirname "$0")/.."
preset=$1
cmake --preset "$preset" >"/tmp/davit-cmake.$$" 2>&1 || { cat "/tmp/davit-cmake.$$" >&2; rm -f "/tmp/davit-cmake.$$"; exit 1; }
rm -f "/tmp/davit-cmake.$$"
ninja -C "build/$preset" --quiet -j "${2:-$(nproc)}"
