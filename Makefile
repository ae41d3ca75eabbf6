# `make run` and `make test` are all a newcomer needs; `make help` lists the rest.
SHELL := /bin/bash
BIN := target/release/lightship
.DEFAULT_GOAL := help

.PHONY: help
help: ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

.PHONY: run
run: ## build, then start master and local agent; prints the page's address
	scripts/need build docker
	$(MAKE) --no-print-directory build
	scripts/run $(ARGS)

.PHONY: test
test: ## every test, with the real parts: Engine, processes, browser, PostgreSQL
	scripts/need build docker browser compose namespaces image postgres updates accessibility api
	@# Side by side: each has long stretches that keep one core only, and their directories have locks of their own.
	cargo test --locked --workspace --no-run & tests=$$!; $(MAKE) --no-print-directory build && wait $$tests
	scripts/test

.PHONY: check
check: ## formatting, lints, documentation, licences, advisories if they can be fetched; then the tests
	$(MAKE) --no-print-directory lint
	command -v cargo-deny >/dev/null || cargo install --locked cargo-deny
	cargo deny --locked check --hide-inclusion-graph licenses bans sources
	scripts/advisories
	$(MAKE) --no-print-directory test

.PHONY: lint
lint: ## formatting, lints and documentation, without the tests
	cargo fmt --all -- --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	scripts/changelog --check
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps --quiet

.PHONY: bench
bench: ## measure the figures of docs/figures.md; table and target/bench.json
	scripts/need build docker load namespaces postgres updates
	$(MAKE) --no-print-directory build
	scripts/bench $(ARGS)

.PHONY: build
build: ## the static release binary, target/release/lightship
	cargo rustc --release --locked --bin lightship -- -C target-feature=+crt-static

.PHONY: image
image: ## a container image of the binary just built, lightship:local
	scripts/need build docker image
	$(MAKE) --no-print-directory build
	scripts/image
