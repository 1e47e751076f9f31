.DEFAULT_GOAL := help
.PHONY: help demo test faults upgrade bench fmt lint protocol fixtures

help: ## list what there is
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## publish a recorded stream and watch it arrive; needs nothing but Rust
	cargo run -q -p millrace -- demo

test: ## every test, against a private PostgreSQL and a private Redis
	@.ci/test

faults: ## break processes, Redis, PostgreSQL and receivers for half an hour, and judge what arrives
	@MILLRACE_CASES=500 cargo test -q -p millrace-deliverer --test engine interleavings::
	@MILLRACE_FAULTS=long NEXTEST_PROFILE=faults .ci/test --test faults

upgrade: ## upgrade from the release before under load, and back; builds that release first
	@.ci/upgrade

bench: ## measure throughput, cost and latency (an optimized build)
	@cargo build -q --release -p millrace -p millrace-bench
	@$${CARGO_TARGET_DIR:-target}/release/millrace-bench

fmt: ## format the sources
	cargo fmt --all

lint: ## formatting, clippy, documentation and protocol, without a warning
	@.ci/lint

protocol: ## on a release: renew what later versions of the protocol are held against
	@.ci/protocol

fixtures: ## on a release: keep the bytes that it writes, for every later one to read
	@MILLRACE_FIXTURE=$(or $(RELEASE),$(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)) \
		cargo test -q -p millrace-tests --test compat releases::
