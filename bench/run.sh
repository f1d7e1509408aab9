#!/bin/bash
# run.sh [OPTIONS of run.py]: davit's engine beside restic; --write docs/performance.md keeps the table.
set -euo pipefail
exec python3 -B "$(dirname "$0")/run.py" "$@"
