#!/bin/bash
# install-podman.sh [uninstall]: Davit as a systemd service for Podman: as root for the machine, as a user for that user's rootless
# Podman. Run it as often as you like; data and settings stay, also when it is uninstalled.
set -euo pipefail
top=$(realpath "$(dirname "$0")/..")
build=${DAVIT_BUILD:-$top/build/release}
if [ "$(id -u)" -eq 0 ]; then
  user=()
  bin=/usr/local/bin units=/etc/systemd/system unit=system conf=/etc/containers/containers.conf.d socket=/run/davit/davit.sock
  data=/var/lib/davit
else
  user=(--user)
  bin=~/.local/bin units=~/.config/systemd/user unit=user conf=~/.config/containers/containers.conf.d
  socket=${XDG_RUNTIME_DIR:-/run/user/$(id -u)}/davit/davit.sock
  data=~/.local/share/davit
fi

# systemctl where systemd runs; elsewhere the files alone are put in place, and that is said.
control() {
  if [ -d /run/systemd/system ]; then
    systemctl "${user[@]}" "$@"
  else
    echo "no systemd here, so not done: systemctl ${user[*]} $*" >&2
  fi
}

if [ "${1:-}" = uninstall ]; then
  if [ -e "$units/davit.service" ]; then control disable --now davit.service; fi
  rm -f "$units/davit.service" "$conf/davit.conf" "$bin/davitd" "$bin/davit"
  control daemon-reload
  echo "uninstalled; what was saved is still in $data"
  exit 0
fi

mkdir -p "$bin" "$units" "$conf"
mkdir -p -m 700 "$data"
if [ ! -e "$data/davit.conf" ] && zone=$(realpath -e /etc/localtime 2>/dev/null) && [ "${zone#/usr/share/zoneinfo/}" != "$zone" ]; then
  (umask 077 && printf 'TZ=%s\n' "${zone#/usr/share/zoneinfo/}" >"$data/davit.conf")
fi
install -m 755 "$build/plugin/davitd" "$build/bin/davit" "$bin/"
install -m 644 "$top/packaging/systemd/$unit/davit.service" "$units/"
sed "s|^davit = .*|davit = \"$socket\"|" "$top/packaging/containers/davit.conf" >"$conf/davit.conf"
control daemon-reload
control enable --now podman.socket davit.service
control try-restart davit.service
echo "installed: $bin/davitd, $bin/davit, data in $data
next: podman volume create --driver davit -o schedule=@hourly NAME; keep a copy of the key elsewhere: davit key export"
