# Holds one PostgreSQL for one test process (tests/it/harness/postgresql.rs starts this with bash).
# Words on standard input: `start`, answered by `ready <pid>` or `failed`; `kill`, a kill -9 of the
# postmaster, answered by `killed`. Its end ends all: the server is killed and its directory removed.
#
#   $1 programs  $2 directory  $3 template  $4 port  $5 user  $6 password  $7… more for the server
set -u
trap '' INT TERM HUP
bin=$1 dir=$2 template=$3 port=$4 user=$5 password=$6
shift 6
exec 2>>"$dir/log"

as=()
if [ "$(id -u)" = 0 ]; then
  for owner in postgres nobody; do id "$owner" >&2 && break; done
  as=(setpriv "--reuid=$owner" "--regid=$(id -g "$owner")" --clear-groups --)
  template=$template-as-$owner
  chown -R "$owner" "$dir"
fi

server=
quit() {
  if [ -n "$server" ]; then kill -QUIT "$server"; wait "$server"; fi
  rm -rf "$dir"
  exit
}
fail() { echo failed; while read -r _; do echo failed; done; quit; }

if ! { [ -d "$template" ] && cp -a "$template" "$dir/data"; }; then
  rm -rf "$dir/data"
  printf '%s\n' "$password" > "$dir/password"
  # An order of its own, so that a query which relies on the database's shows.
  "${as[@]}" "$bin/initdb" --pgdata "$dir/data" --username "$user" --pwfile "$dir/password" \
    --auth-local trust --auth-host scram-sha-256 --encoding UTF8 --locale C.UTF-8 \
    --locale-provider icu --icu-locale en-US --no-sync --no-instructions >&2 || fail
  # Two may do this at once: the first name wins.
  if mkdir -p "$(dirname "$template")" && cp -a "$dir/data" "$template.$$"; then
    mv -T "$template.$$" "$template" || rm -rf "$template.$$"
  fi
fi

run() {
  "${as[@]}" "$bin/postgres" -D "$dir/data" -k "$dir" -p "$port" \
    -c listen_addresses=127.0.0.1 -c max_connections=200 -c shared_buffers=16MB "$@" >&2 </dev/null &
  server=$!
}

start() {
  local tries
  run "$@"
  for ((tries = 0; tries < 400; tries++)); do
    if "$bin/pg_isready" --quiet --host "$dir" --port "$port" --username "$user"; then
      echo "ready $server"
      return
    fi
    sleep 0.05
    # After a kill the old server's children may hold its memory a little longer.
    if ! kill -0 "$server"; then run "$@"; fi
  done
  fail
}

while read -r word; do
  case $word in
    start) start "$@" ;;
    kill)
      kill -KILL "$server"
      wait "$server"
      echo killed
      ;;
  esac
done
quit
