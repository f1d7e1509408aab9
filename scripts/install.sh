#!/bin/bash
# install.sh: installs the plugin `davit` from this checkout into the engine of this machine, or brings it up to date. Run it as
# often as you like. It keeps the data, the settings and every volume; containers that run keep their volumes mounted.
#
# DAVIT_NAME the plugin's name (davit)   DAVIT_DATA the data directory of a new plugin (/var/lib/davit)   DOCKER the client's command (docker)
# DAVIT_STAGE a plugin that scripts/plugin.sh staged already (staged anew)
set -euo pipefail
top=$(realpath "$(dirname "$0")/..")
name=${DAVIT_NAME:-davit}
link=/usr/local/lib/docker/cli-plugins/docker-davit
stage=${DAVIT_STAGE:-$top/build/plugin}
read -ra docker <<<"${DOCKER:-docker}"

[ "$(id -u)" -eq 0 ] || { echo "install needs root: sudo make install" >&2; exit 1; }
"${docker[@]}" version --format '{{.Server.Version}}' >/dev/null || { echo "no Docker engine answers" >&2; exit 1; }

plugin() { "${docker[@]}" plugin "$@"; }
inspect() { plugin inspect -f "$1" "$name" 2>/dev/null; }

# A plugin that is there keeps its data directory: with another one it would know none of its volumes.
data=$(inspect '{{range .Settings.Mounts}}{{if eq .Name "data"}}{{.Source}}{{end}}{{end}}' || true)
if [ -n "$data" ] && [ "$data" != "${DAVIT_DATA:-$data}" ]; then
  echo "plugin $name has its data in $data, not in $DAVIT_DATA: leave DAVIT_DATA unset, or uninstall it first" >&2
  exit 1
fi
data=${data:-${DAVIT_DATA:-/var/lib/davit}}

# installed_release: which build the engine has, from the plugin's own files.
installed_release() {
  local root
  root=$("${docker[@]}" info -f '{{.DockerRootDir}}')
  head -n 1 "$root/plugins/$(inspect '{{.Id}}')/rootfs/etc/davit-release" 2>/dev/null || true
}

mkdir -p -m 700 "$data"
# The plugin cannot see the host's zone: schedules shall count in it from the start.
if [ ! -e "$data/davit.conf" ] && zone=$(realpath -e /etc/localtime 2>/dev/null) && [ "${zone#/usr/share/zoneinfo/}" != "$zone" ]; then
  (umask 077 && printf 'TZ=%s\n' "${zone#/usr/share/zoneinfo/}" >"$data/davit.conf")
fi

# settings: KEY=VALUE of each one that is set and that the new plugin still has.
settings() {
  local line
  inspect '{{range .Settings.Env}}{{println .}}{{end}}' | while IFS= read -r line; do
    if grep -q "\"name\": \"${line%%=*}\".*\"settable\": \[\"value\"\]" "$stage/config.json"; then printf '%s\n' "$line"; fi
  done
  inspect '{{range .Settings.Mounts}}{{if eq .Name "run"}}run.source={{.Source}}{{end}}{{end}}' | sed '/^$/d'
}

[ -n "${DAVIT_STAGE:-}" ] || "$top/scripts/plugin.sh" stage
kept=$data/.settings-during-install # outlives an installation that was cut short
create=yes
if inspect '{{.Id}}' >/dev/null; then
  if [ "$(installed_release)" = "$(head -n 1 "$stage/rootfs/etc/davit-release")" ]; then
    create=no
  else
    (umask 077 && settings >"$kept.new" && mv "$kept.new" "$kept")
    [ "$(inspect '{{.Enabled}}')" = false ] || plugin disable -f "$name" >/dev/null
    plugin rm -f "$name" >/dev/null
  fi
fi
if [ $create = yes ]; then
  plugin create "$name" "$stage" >/dev/null
  set=("data.source=$data")
  if [ -e "$kept" ]; then mapfile -t -O 1 set <"$kept"; fi
  plugin set "$name" "${set[@]}"
  rm -f "$kept"
fi
[ "$(inspect '{{.Enabled}}')" = true ] || plugin enable --timeout 0 "$name" >/dev/null

mkdir -p "$(dirname "$link")"
ln -sfn "$data/bin/davit" "$link"
deadline=$((SECONDS + 10))
until [ -x "$data/bin/davit" ]; do # the daemon puts it there when it starts
  [ $SECONDS -lt $deadline ] || { echo "the plugin runs, but left no client at $data/bin/davit: see the engine's log" >&2; exit 1; }
  sleep 0.1
done
echo "installed: plugin $name, data in $data, client: docker davit
next: docker volume create -d $name -o schedule=@hourly NAME; keep a copy of the key elsewhere: docker davit key export"
