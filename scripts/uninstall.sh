#!/bin/bash
# uninstall.sh: removes the plugin and the client's link. The data directory, with volumes and repository, stays.
# Refuses while the engine knows volumes of the plugin, for it could neither use nor remove them afterwards. Environment: as for install.sh.
set -euo pipefail
name=${DAVIT_NAME:-davit}
link=/usr/local/lib/docker/cli-plugins/docker-davit
read -ra docker <<<"${DOCKER:-docker}"

[ "$(id -u)" -eq 0 ] || { echo "uninstall needs root: sudo make uninstall" >&2; exit 1; }
if "${docker[@]}" plugin inspect "$name" >/dev/null 2>&1; then
  volumes=$("${docker[@]}" volume ls -q --filter "driver=$name:latest")
  if [ -n "$volumes" ]; then
    printf 'not removed: these volumes are still there; remove them first (their snapshots stay):\n%s\n' "$volumes" >&2
    exit 1
  fi
  [ "$("${docker[@]}" plugin inspect -f '{{.Enabled}}' "$name")" = false ] || "${docker[@]}" plugin disable "$name" >/dev/null
  "${docker[@]}" plugin rm "$name" >/dev/null
fi
if [ -L "$link" ]; then
  client=$(readlink "$link")
  case $client in */bin/davit) rm "$link" && echo "what was saved is still in ${client%/bin/davit}" ;; esac
fi
echo "uninstalled"
