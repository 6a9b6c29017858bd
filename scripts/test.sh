#!/usr/bin/env bash
# Runs every test on SQLite, and those about behaviour on PostgreSQL too; sums up cargo's counts; the last line is
# `N passed, N failed`.
set -euo pipefail
cd "$(dirname "$0")/.."

# The suites that hold on either database: modules of the integration tests, and of the library.
SUITES=(api:: envoy:: faulty:: grpcurl:: python:: seeds::)
LIBRARY=(store::)

rm -rf target/it
mkdir -p target/it
sqlite=target/it/sqlite.log
postgres=target/it/postgres.log

status=0
cargo test --no-fail-fast 2>&1 | tee "$sqlite" || status=$?

echo
echo "the suites again, on PostgreSQL:"
scripts/postgres.sh with cargo test --no-fail-fast --lib --test integration -- "${LIBRARY[@]}" "${SUITES[@]}" 2>&1 |
  tee "$postgres" || status=$?

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

# of_suites LOG: the names of the tests of these suites that were run.
of_suites() {
  local modules
  modules=$(IFS='|' && echo "${LIBRARY[*]}|${SUITES[*]}")
  sed -nE "s/^test (($modules)[^ ]*) .*/\1/p" "$1" | sort
}
echo
if diff <(of_suites "$sqlite") <(of_suites "$postgres"); then
  echo "the same $(of_suites "$postgres" | wc -l) tests on SQLite and on PostgreSQL"
else
  echo "not the same tests on SQLite (<) and on PostgreSQL (>)"
  status=1
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
' "$sqlite" "$postgres" || status=1

exit "$status"
