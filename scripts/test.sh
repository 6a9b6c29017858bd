#!/usr/bin/env bash
# Runs every test and sums up cargo's counts; the last line is `N passed, N failed`.
set -euo pipefail
cd "$(dirname "$0")/.."

log=target/it/test.log
rm -rf target/it
mkdir -p target/it

status=0
cargo test --no-fail-fast 2>&1 | tee "$log" || status=$?

if [ -s target/it/figures ]; then
  echo
  echo "shown:"
  sed 's/^/  /' target/it/figures
fi

# What a machine does not allow (mounting, say) is said here and not passed over.
if [ -s target/it/not-checked ]; then
  echo
  echo "not checked on this machine:"
  sort -u target/it/not-checked | sed 's/^/  /'
fi

awk '
  /^test result: / {
    for (i = 2; i <= NF; i++) {
      if ($i == "passed;") passed += $(i - 1)
      if ($i == "failed;") failed += $(i - 1)
      if ($i == "ignored;") ignored += $(i - 1)
    }
  }
  END {
    if (ignored) print "\n" ignored " ignored: a test that nobody runs proves nothing"
    printf "\n%d passed, %d failed\n", passed, failed
    exit (passed == 0 || failed > 0 || ignored > 0)
  }
' "$log" || status=1

exit "$status"
