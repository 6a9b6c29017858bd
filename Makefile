# What there is to run. Everything a target needs is set up by `make tools`, below target/.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := test

.PHONY: test lint tools bench soak

## All tests and checks; the last line says how many tests passed and failed.
test: lint
	@scripts/test.sh

## Formatting, clippy, and the protos' style.
lint: tools
	cargo fmt --check
	cargo clippy --all-targets -- -D warnings
	target/tools/bin/buf lint

## Envoy, grpcurl, buf and what else the tests run against, in fixed versions; at once where they are there.
tools:
	@scripts/tools.sh

## The criterion benches; nothing has to be installed for them.
bench:
	cargo bench

## The tests that `make test` runs small, at full length; writes docs/reliability.md. CLAVIGER_SOAK=1 takes a tenth of it.
soak: tools
	@scripts/soak.sh
