#!/usr/bin/env bash
# PostgreSQL for the tests. A cluster is a folder with its data, its Unix socket and nothing else: no port, no service.
#
#   scripts/postgres.sh install           installs Debian's packages where PostgreSQL or PgBouncer is missing
#   scripts/postgres.sh bin               prints the folder of its programs
#   scripts/postgres.sh init DIR          makes a cluster in a folder; the password is read from standard input
#   scripts/postgres.sh serve DIR ARG…    becomes its server, with further arguments for it
#   scripts/postgres.sh bouncer DIR       becomes PgBouncer before a cluster, for those in DIR/bouncer/users
#   scripts/postgres.sh guard DIR         waits for the end of its input; then ends the server and removes the folder
#   scripts/postgres.sh with COMMAND…     runs a command with CLAVIGER_TEST_POSTGRES_URL set to a cluster of its own
set -euo pipefail

# What PostgreSQL's administrator is called in these clusters.
ADMINISTRATOR=postgres
# The tests make databases with ICU locales.
OLDEST=15

fail() {
  echo "postgres: $1" >&2
  exit 1
}

# The newest of Debian's, or what is on the path.
find_bin() {
  local newest
  newest=$(find /usr/lib/postgresql -maxdepth 3 -path '*/bin/postgres' 2>/dev/null | sort -V | tail -n 1)
  newest=${newest:-$(command -v postgres || true)}
  [ -n "$newest" ] && dirname "$newest"
}

bin() {
  find_bin || fail "PostgreSQL is missing: run \`make tools\` as root, or install it (Debian: \`apt-get install postgresql\`)"
}

# major: the first number of the version that was found; nothing where none was.
major() {
  local programs
  programs=$(find_bin) || return 0
  "$programs/postgres" --version | sed -nE "s/^postgres \(PostgreSQL\) ([0-9]+).*/\1/p"
}

install() {
  install_server
  install_bouncer
}

install_server() {
  local found
  found=$(major)
  [ "${found:-0}" -ge "$OLDEST" ] && return
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "postgres: setting up PostgreSQL (Debian's package)" >&2
    local log
    log=$(mktemp)
    # A source of packages that can't be reached need not be the one that is wanted.
    apt-get update -qq </dev/null >"$log" 2>&1 || true
    # The package's own cluster is of no use here: none is made, and no service is started.
    if ! {
      DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends postgresql-common &&
        sed -i 's/^#\?create_main_cluster.*/create_main_cluster = false/' /etc/postgresql-common/createcluster.conf &&
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends postgresql
    } </dev/null >>"$log" 2>&1; then
      tail -n 30 "$log" >&2
    fi
    rm -f "$log"
  fi
  bin >/dev/null
  found=$(major)
  [ "${found:-0}" -ge "$OLDEST" ] ||
    fail "PostgreSQL is version ${found:-unknown}, and $OLDEST or newer is wanted: https://apt.postgresql.org has it"
}

# Not always on the path of who is not root.
find_bouncer() { PATH="$PATH:/usr/sbin" command -v pgbouncer || true; }

install_bouncer() {
  [ -n "$(find_bouncer)" ] && return
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "postgres: setting up PgBouncer (Debian's package)" >&2
    # At this runlevel no service is started.
    apt-get update -qq </dev/null >/dev/null 2>&1 || true
    DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y -qq --no-install-recommends pgbouncer </dev/null >/dev/null 2>&1 || true
  fi
  [ -n "$(find_bouncer)" ] || fail "PgBouncer is missing: $BOUNCER_HINT"
}
BOUNCER_HINT="run \`make tools\` as root, or install it (Debian: \`apt-get install pgbouncer\`)"

# PostgreSQL refuses to run as root, and so does PgBouncer. `user` is whom it runs as then; empty: as whoever calls.
user=
if [ "$(id -u)" = 0 ]; then
  user=nobody
  if id postgres >/dev/null 2>&1; then user=postgres; fi
fi

# as_user COMMAND…: becomes the command, as that user, which ends with the thread that started it.
as_user() {
  if [ -n "$user" ]; then
    exec setpriv --reuid "$user" --regid "$(id -g "$user")" --clear-groups --pdeathsig QUIT -- "$@"
  fi
  exec setpriv --pdeathsig QUIT -- "$@"
}

init() {
  local dir=$1 programs
  programs=$(bin)
  chmod 700 "$dir"
  if [ -n "$user" ]; then chown "$user" "$dir"; fi
  cd "$dir"
  (umask 077 && cat >password)
  if [ -n "$user" ]; then chown "$user" password; fi
  # Every user proves a password, as in a real setting.
  (as_user "$programs/initdb" --pgdata "$dir/data" --username "$ADMINISTRATOR" --pwfile password \
    --auth scram-sha-256 --encoding UTF8 --locale C --no-sync --no-instructions) >/dev/null
  rm password
}

serve() {
  local dir=$1 programs
  shift
  programs=$(bin)
  cd "$dir"
  as_user "$programs/postgres" -D "$dir/data" -k "$dir" -c listen_addresses= -c max_connections=200 \
    -c shared_buffers=32MB -c dynamic_shared_memory_type=mmap "$@"
}

bouncer() {
  local dir=$1 program version mode=transaction prepared='max_prepared_statements = 200'
  program=$(find_bouncer)
  [ -n "$program" ] || fail "PgBouncer is missing: $BOUNCER_HINT"
  # Statements that are prepared survive transaction mode only where it keeps track of them, which older ones don't.
  version=$("$program" --version | sed -nE 's/^PgBouncer ([0-9.]+).*/\1/p')
  printf '1.21\n%s\n' "$version" | sort -C -V || { mode=session && prepared=; }
  cd "$dir/bouncer"
  chmod 600 users
  cat >pgbouncer.ini <<INI
[databases]
* = host=$dir port=5432
[pgbouncer]
listen_addr =
listen_port = 6432
unix_socket_dir = $dir/bouncer
auth_type = scram-sha-256
auth_file = $dir/bouncer/users
pool_mode = $mode
$prepared
ignore_startup_parameters = options,extra_float_digits
default_pool_size = 100
max_client_conn = 500
INI
  if [ -n "$user" ]; then chown -R "$user" .; fi
  echo "PgBouncer $version in $mode mode" >&2
  as_user "$program" pgbouncer.ini
}

# members DIR: the processes of a cluster. Its server and all its children work in its data folder.
members() {
  local process name
  for process in /proc/[0-9]*; do
    [ "$process/cwd" -ef "$1/data" ] && read -r name 2>/dev/null <"$process/comm" && [ "$name" = postgres ] || continue
    echo "${process#/proc/}"
  done
}

guard() {
  trap '' HUP INT TERM
  cat >/dev/null
  local dir=$1 first=60 found server
  # In order first, so that its shared memory goes too, and whatever was stopped goes on for that; then by force.
  while found=$(members "$dir") && [ -n "$found" ]; do
    if [ "$first" -gt 0 ]; then
      first=$((first - 1))
      server=$(head -n 1 "$dir/data/postmaster.pid" 2>/dev/null || true)
      # shellcheck disable=SC2086
      kill -CONT $found 2>/dev/null || true
      kill -QUIT "${server:-${found%%$'\n'*}}" 2>/dev/null || true
    else
      # shellcheck disable=SC2086
      kill -KILL $found 2>/dev/null || true
    fi
    sleep 0.05
  done
  rm -rf "$dir"
}

with() {
  local dir password programs tries=0 status=0
  programs=$(bin)
  dir=$(mktemp -d "${TMPDIR:-/tmp}/claviger-pg-XXXXXX")
  # It hears of the end of this script, however that ends: nobody else holds the other end.
  exec 8> >(guard "$dir")
  local guard=$!
  password=$(head -c 18 /dev/urandom | od -An -tx1 | tr -d ' \n')
  (init "$dir" <<<"$password") 8>&-
  # Data that goes with the cluster need not survive anything.
  (serve "$dir" -c fsync=off -c full_page_writes=off -c log_min_messages=fatal 8>&-) &
  until "$programs/pg_isready" -q -h "$dir" -d postgres 8>&-; do
    tries=$((tries + 1))
    [ "$tries" -lt 600 ] || fail "the server does not start"
    sleep 0.1
  done
  export CLAVIGER_TEST_POSTGRES_URL="postgres://$ADMINISTRATOR:$password@localhost/postgres?host=$dir"
  "$@" 8>&- || status=$?
  exec 8>&-
  wait "$guard" || true
  return "$status"
}

case "${1:-}" in
  install | bin | init | serve | bouncer | guard | with) "$@" ;;
  *) fail "give one of \`install\`, \`bin\`, \`init\`, \`serve\`, \`bouncer\`, \`guard\` and \`with\`; the script says what they do" ;;
esac
