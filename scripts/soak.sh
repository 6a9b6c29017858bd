#!/usr/bin/env bash
# Runs the long figures, and writes them to docs/reliability.md.
set -euo pipefail
cd "$(dirname "$0")/.."

rm -rf target/it
mkdir -p target/it docs
# As it is deployed: how fast a debug build is says nothing.
CLAVIGER_SOAK=1 cargo test --release --test integration -- --test-threads=1 \
  process::killed process::backup decide_oracle large:: postgres::fleet postgres::killed postgres::outage \
  postgres::rolling postgres::leader postgres::together postgres::contention process::aged

{
  echo "# Reliability"
  echo
  echo "Written by \`make soak\` on $(date -u +%F), at commit $(git rev-parse --short HEAD), on $(nproc) cores of $(uname -sm)."
  echo
  sed 's/^/- /' target/it/figures
} > docs/reliability.md
cat docs/reliability.md
