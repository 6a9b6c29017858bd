#!/usr/bin/env bash
# Runs the long figures, and writes them to docs/reliability.md.
set -euo pipefail
cd "$(dirname "$0")/.."

rm -rf target/it
mkdir -p target/it docs
CLAVIGER_SOAK=1 cargo test --test integration -- \
  process::killed decide_oracle postgres::fleet postgres::killed postgres::outage --test-threads=1

{
  echo "# Reliability"
  echo
  echo "Written by \`make soak\` on $(date -u +%F), at commit $(git rev-parse --short HEAD), on $(nproc) cores of $(uname -sm)."
  echo
  sed 's/^/- /' target/it/figures
} > docs/reliability.md
cat docs/reliability.md
