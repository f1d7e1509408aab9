#!/bin/bash
# rest.sh up DIR      three `rclone serve restic` on free ports of loopback, everything in DIR: one without users and one with TLS and a
#                     user, of files in memory, which change at once and not half; and an append-only one of a directory
# rest.sh down DIR    ends them
#
# DIR/rest says where they are, one KEY=VALUE a line, when they answer. They also end when the process that started them does. Needs
# Debian's rclone and openssl (scripts/packages.sh test); exit code 77 where they are missing.
set -euo pipefail
dir=${2:?usage: rest.sh up|down DIR}

end() { # by the process numbers that were noted, once each is still the program that was started
  local file pid
  for file in "$dir"/run/*.pid; do
    [ -e "$file" ] || continue
    pid=$(cat "$file")
    if [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = rclone ]; then kill -KILL "$pid" 2>/dev/null || true; fi
    rm -f "$file"
  done
}
if [ "$1" = down ]; then
  end
  rm -rf "$dir"
  exit 0
fi

for program in rclone openssl curl; do
  command -v $program >/dev/null || { echo "no $program: scripts/packages.sh test" >&2; exit 77; }
done
end
rm -rf "$dir"
mkdir -p "$dir"/{run,files}
dir=$(realpath "$dir")
read -r plain append guarded < <(python3 -c 'import socket
all = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
print(*[s.getsockname()[1] for s in all])')
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 -subj /CN=davit-test -keyout "$dir/server.key" \
  -out "$dir/server.pem" -addext 'subjectAltName=IP:127.0.0.1' 2>/dev/null
echo "davit:$(openssl passwd -apr1 'a pass/word')" >"$dir/htpasswd"
touch "$dir/rclone.conf"

serve() { # NAME PORT DIRECTORY ARGUMENT…
  setsid rclone --config "$dir/rclone.conf" serve restic --addr "127.0.0.1:$2" "${@:4}" "$3" >"$dir/$1.log" 2>&1 </dev/null &
  echo $! >"$dir/run/$1.pid"
}
serve plain "$plain" :memory:plain
serve append "$append" "$dir/files" --append-only --cache-objects=false
serve guarded "$guarded" :memory:guarded --htpasswd "$dir/htpasswd" --cert "$dir/server.pem" --key "$dir/server.key"
for url in "http://127.0.0.1:$plain" "http://127.0.0.1:$append" "https://127.0.0.1:$guarded"; do
  for ((i = 0; i < 100; i++)); do
    if curl -s -k -m 2 "$url/" >/dev/null; then break; fi
    [ $i -lt 99 ] || {
      echo "rclone does not answer; the ends of its logs:" >&2
      tail -n 5 "$dir"/*.log >&2
      end
      exit 1
    }
    sleep 0.1
  done
done

owner=$PPID
(while kill -0 "$owner" 2>/dev/null; do sleep 2; done; end) >/dev/null 2>&1 </dev/null &
cat >"$dir/rest.new" <<C
PLAIN=127.0.0.1:$plain
APPEND=127.0.0.1:$append
GUARDED=127.0.0.1:$guarded
USER=davit
PASSWORD=a pass/word
CA=$dir/server.pem
C
mv "$dir/rest.new" "$dir/rest"
