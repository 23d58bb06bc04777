# The targets that people and CI use; "make" alone lists them.

PREFIX ?= /usr/local
DESTDIR ?=

STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
GOVULNCHECK := golang.org/x/vuln/cmd/govulncheck@v1.9.0

# Go is often installed there and not on root's PATH.
export PATH := $(PATH):/usr/local/go/bin

HOST := bottle-start bottle-attach bottle-ls bottle-approve bottle-edit bottle-log bottle-stop bottle-dash
SIDECARS := bottle-egress bottle-supervise bottle-git-gate
PICKERS := bottle-tmux bottle-new bottle-open bottle-end
INSIDE := bottle-inside
TESTS := upstream pipelock asker dialer
BIN := bin
LIBEXEC := libexec/bottle
# Without urfave's writer of manuals a program starts a little sooner. Programs and
# tests are compiled by the same flags: what both are made of is compiled once.
export CGO_ENABLED := 0
COMPILE := -trimpath -buildvcs=false -tags urfave_cli_no_docs
BUILD := go build $(COMPILE) -ldflags "-s -w"

.PHONY: help build install demo test test-engines pipelock-check escape crash soak bench screenshot fuzz fmt lint clean engine programs base

help: ## lists these targets
	@echo "targets:"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## the programs, into bin/ and libexec/
	@install -d -m 0755 $(BIN) $(LIBEXEC)/sidecars $(LIBEXEC)/inside
	$(BUILD) -o $(BIN)/ $(HOST:%=./cmd/%)
	$(BUILD) -o $(LIBEXEC)/sidecars/ $(SIDECARS:%=./cmd/%)
	$(BUILD) -o $(LIBEXEC)/inside/ $(INSIDE:%=./cmd/%)
	@chmod 0755 $(INSIDE:%=$(LIBEXEC)/inside/%) # an agent runs it, whatever the umask is here
	@install -m 0755 scripts/base-image $(LIBEXEC)/base-image

# By rename: a program that runs, or is mounted into a bottle, is never half a file.
define put
	install -m 0755 $(1) $(DESTDIR)$(PREFIX)/$(1).new
	mv -f $(DESTDIR)$(PREFIX)/$(1).new $(DESTDIR)$(PREFIX)/$(1)

endef

# A manual page, from what --help is made of.
define page
	$(1) __man $(HOST) > $(DESTDIR)$(PREFIX)/share/man/man1/$(notdir $(1)).1

endef

# These two shells look for a file under the program's name.
define completion
	install -m 0644 completion/bottle.bash $(DESTDIR)$(PREFIX)/share/bash-completion/completions/$(1)
	install -m 0644 completion/bottle.fish $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/$(1).fish

endef

install: build ## the programs, their manual pages and completion, into PREFIX (/usr/local); DESTDIR is honoured
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/$(LIBEXEC)/sidecars $(DESTDIR)$(PREFIX)/$(LIBEXEC)/inside
	install -d $(DESTDIR)$(PREFIX)/share/bottle/tmux $(DESTDIR)$(PREFIX)/share/bottle/scripts
	install -m 0644 tmux/bottle.conf $(DESTDIR)$(PREFIX)/share/bottle/tmux/
	install -m 0755 tmux/bottle.tmux $(DESTDIR)$(PREFIX)/share/bottle/tmux/
	install -m 0755 $(PICKERS:%=scripts/%) $(DESTDIR)$(PREFIX)/share/bottle/scripts/
	install -d $(DESTDIR)$(PREFIX)/share/man/man1
	$(foreach f,$(HOST:%=bin/%) $(SIDECARS:%=$(LIBEXEC)/sidecars/%),$(call page,$(f)))
	install -d $(DESTDIR)$(PREFIX)/share/bash-completion/completions $(DESTDIR)$(PREFIX)/share/zsh/site-functions $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d
	install -m 0644 completion/_bottle $(DESTDIR)$(PREFIX)/share/zsh/site-functions/
	$(foreach p,$(HOST),$(call completion,$(p)))
	$(foreach f,$(HOST:%=bin/%) $(SIDECARS:%=$(LIBEXEC)/sidecars/%) $(INSIDE:%=$(LIBEXEC)/inside/%) $(LIBEXEC)/base-image,$(call put,$(f)))

demo: engine build base ## a bottle from end to end; ends attached to it on a terminal
	@scripts/deps git jq curl
	@scripts/demo

# The longest first: what is compiled, and what only waits, comes beside it.
test: engine build programs base ## everything, against a real engine
	@scripts/deps git git-lfs tmux jq fzf ps ip curl getfacl docker-compose
	@scripts/deps runsc || echo "test: bottles on gVisor are not tried" >&2
	scripts/suite $(COMPILE) -timeout 25m ./test/lifecycle ./...

escape: engine build base ## tries to get out of a bottle: one line a row; JSON=FILE writes the rows there
	@scripts/deps ip
	@scripts/deps runsc || echo "escape: bottles on gVisor are not tried" >&2
	cd test/escape && BOTTLE_ESCAPE_JSON=$(abspath $(JSON)) go test -count=1 -timeout 25m

test-engines: engine build base ## the suites that meet an engine, on those of ENGINES (Debian suites: trixie forky)
	@scripts/deps git git-lfs tmux jq ps ip getfacl docker-compose
	failed=0; for suite in $(or $(ENGINES),trixie forky); do \
		engine=$$(scripts/debian-engine $$suite) && BOTTLE_TEST_ENGINE=$$engine go test -count=1 -timeout 3h -parallel 2 -v ./test/engines || failed=1; done; exit $$failed

pipelock-check: engine build base ## the suite of pipelock, on a real one: IMAGE, which is there already
	@[ -n "$(IMAGE)" ] || { echo "pipelock-check: NOT RUN: name a real image, as IMAGE=ghcr.io/luckypipewrench/pipelock:2.3.0" >&2; exit 1; }
	@docker image inspect "$(IMAGE)" >/dev/null 2>&1 || { echo "pipelock-check: NOT RUN: $(IMAGE) is not on this engine: run docker pull $(IMAGE)" >&2; exit 1; }
	cd test/behind && BOTTLE_PIPELOCK_IMAGE=$(IMAGE) go test -count=1 -timeout 25m -v

crash: engine build base ## kills the programs at random moments, ROUNDS times (300), and deciders KILLS times (2000)
	@scripts/deps git
	cd test/crash && go test -count=1 -timeout 60m -v -rounds $(or $(ROUNDS),300)
	cd test/decide && go test -count=1 -timeout 120m -v -run Killed -kills $(or $(KILLS),2000)

soak: engine build base ## 8 bottles with traffic for TIME (30m): what sidecars hold stays flat
	@scripts/deps git
	cd test/lifecycle && go test -count=1 -timeout 12h -v -run SidecarsUnderTraffic -soak $(or $(TIME),30m)

bench: engine build base ## egress against other proxies, start against docker-compose, bottle-ls against docker ps, the dashboard
	@scripts/deps docker-compose tmux ps
	@scripts/deps mitmdump || true # what is not here is left out
	cd test/bench && BOTTLE_BENCH=1 go test -count=1 -timeout 40m
	go test -run '^$$' -bench WebSocket -benchtime 20000x -timeout 10m ./pkg/egress
	cd test/dash && BOTTLE_BENCH=1 go test -count=1 -timeout 20m -v -run TestBench

screenshot: engine build base ## docs/dash.svg, from a real run
	dir=$$(mktemp -d) && BOTTLE_SCREENSHOT=$$dir go test -count=1 -timeout 5m -run TestScreenshot ./test/dash && \
		scripts/screenshot $$dir/left $$dir/right > docs/dash.svg; rm -rf "$$dir"

fuzz: ## the parsers of what an agent can influence, TIME (1m) each
	@scripts/fuzz $(or $(TIME),1m)

fmt: ## formats the Go files
	gofmt -w cmd pkg test

lint: ## go vet, gofmt; staticcheck and govulncheck where they can be fetched
	go vet ./...
	@test -z "$$(gofmt -l cmd pkg test)" || { gofmt -l cmd pkg test; echo "lint: make fmt formats these"; exit 1; }
	@scripts/lint $(STATICCHECK) $(GOVULNCHECK)

clean: ## removes what build made
	rm -rf bin libexec

# Steps of others.
programs: # of the tests: every package would link them anew
	@install -d -m 0755 libexec/test
	@$(BUILD) -o libexec/test/ $(TESTS:%=./test/%)

engine:
	@scripts/docker-up

base:
	@scripts/base-image
