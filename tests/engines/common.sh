# shellcheck shell=bash
# Words that every scenario uses: fail, wait with a deadline, compare. Sourced by engine.sh; no state but TOP and CACHE.

TOP=$(realpath "$(dirname "${BASH_SOURCE[0]}")/../..")
CACHE=${DAVIT_CACHE:-$TOP/build/cache}
readonly SKIPPED=77 # ctest's SKIP_RETURN_CODE

note() { printf '%s %s\n' "$(date +%T)" "$*" >&2; }

die() {
  printf 'FAILED: %s\n' "$*" >&2
  printf '  at %s\n' "$(caller 0 2>/dev/null)" "$(caller 1 2>/dev/null)" >&2
  exit 1
}

# cannot REASON: this machine cannot do what the scenario shows. In CI that is a failure; elsewhere it is said aloud.
cannot() {
  [ "${CI:-}" = true ] && die "cannot run here, and CI runs everything: $*"
  printf 'SKIPPED, THIS MACHINE CANNOT: %s\n' "$*" >&2
  exit $SKIPPED
}

need_root() {
  [ "$(id -u)" -eq 0 ] && return
  sudo -n true 2>/dev/null || cannot "private engines need root (run as root, or allow sudo without a password)"
  exec sudo -E "$0" "$@"
}

# wait_until SECONDS WHAT COMMAND…: polls COMMAND until it succeeds; dies naming WHAT when the time is over, or at once when
# COMMAND says with $HOPELESS that it never will.
readonly HOPELESS=99
wait_until() {
  local seconds=$1 what=$2 deadline code
  shift 2
  deadline=$((SECONDS + seconds))
  while :; do
    code=0
    "$@" >/dev/null 2>&1 || code=$?
    [ $code -ne 0 ] || return 0
    [ $code -ne $HOPELESS ] || die "no hope left for: $what"
    [ $SECONDS -lt $deadline ] || die "waited $seconds s in vain for: $what"
    sleep 0.05
  done
}

assert_eq() { # ACTUAL EXPECTED WHAT
  [ "$1" = "$2" ] || die "$3: expected '$2', got '$1'"
}

assert_contains() { # TEXT PART WHAT
  case $1 in *"$2"*) ;; *) die "$3: '$2' is not in: $1" ;; esac
}

# assert_fails PART COMMAND…: COMMAND must fail, and what it prints must hold PART (may be empty).
assert_fails() {
  local part=$1 out
  shift
  if out=$("$@" 2>&1); then
    die "succeeded, but must fail: $* (printed: $out)"
  fi
  assert_contains "$out" "$part" "message of: $*"
}

# tree_manifest DIR: one sorted line for each entry, with all its metadata and a digest of its content.
tree_manifest() {
  local program
  for program in "${DAVIT_BUILD:-}/tests/support/tree_manifest" "$TOP"/build/{release,debug,asan}/tests/support/tree_manifest; do
    [ ! -x "$program" ] || { "$program" "$1"; return; }
  done
  die "tree_manifest is not built (ninja -C build/release tree_manifest)"
}

assert_same_tree() { # DIR DIR
  local difference
  difference=$(diff <(tree_manifest "$1") <(tree_manifest "$2")) || die "$1 and $2 differ:
$(head -n 40 <<<"$difference")"
}

# cached NAME BUILDER: prints CACHE/NAME; if absent, `BUILDER PATH` makes it at a temporary path first, once for all callers.
cached() {
  local name=$1 builder=$2 path=$CACHE/$1
  mkdir -p "$CACHE"
  if [ ! -e "$path" ]; then
    (
      flock 9
      [ ! -e "$path" ] || exit 0
      rm -rf --one-file-system "$path.new"
      note "building $path (once)"
      "$builder" "$path.new" >"$path.log" 2>&1 9>&- || { tail -n 20 "$path.log" >&2; exit 1; }
      mv "$path.new" "$path"
    ) 9>"$CACHE/.$name.lock" || die "could not build $path; see $path.log"
  fi
  printf '%s\n' "$path"
}

# debian_mirror: the mirror this machine already uses for Debian, else the public one.
debian_mirror() {
  local mirror
  mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Origin: Debian' 'Label: Debian' 'Created-By: Packages' 2>/dev/null |
    sort -u | head -n 1)
  printf '%s\n' "${mirror:-http://deb.debian.org/debian/}"
}
