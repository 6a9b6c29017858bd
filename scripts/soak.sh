#!/usr/bin/env bash
# Runs the long figures, and writes them to docs/reliability.md. `CLAVIGER_SOAK` is how many minutes each outage lasts; counts
# grow with it. 10, the default, is the whole; with fewer the report says so.
set -euo pipefail
cd "$(dirname "$0")/.."

export CLAVIGER_SOAK=${CLAVIGER_SOAK:-10}
whole=10
suites=(
  process::killed process::backup decide_oracle large::
  postgres::fleet postgres::killed postgres::outage postgres::replicas history::
  postgres::rolling postgres::leader postgres::together postgres::contention process::aged
)

rm -rf target/it
mkdir -p target/it docs
began=$SECONDS
# As it is deployed: how fast a debug build is says nothing.
cargo test --release --test integration -- --test-threads=1 "${suites[@]}"
took=$(((SECONDS - began + 59) / 60))

{
  echo "# Reliability"
  echo
  echo "Written by \`make soak\` on $(date -u +%F), at commit $(git rev-parse --short HEAD), on $(nproc) cores of $(uname -sm)."
  if [ "$CLAVIGER_SOAK" != "$whole" ]; then
    echo "It was run with \`CLAVIGER_SOAK=$CLAVIGER_SOAK\`: outages of $CLAVIGER_SOAK of the $whole minutes that a whole run has, and counts in proportion."
  fi
  echo "It took $took minutes."
  echo
  sed 's/^/- /' target/it/figures
  if [ -s target/it/not-checked ]; then
    echo
    echo "Not checked on this machine:"
    echo
    sort -u target/it/not-checked | sed 's/^/- /'
  fi
} > docs/reliability.md
cat docs/reliability.md
