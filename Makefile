# Everything that is built lands in bin/. Needed: Go; for `make e2e` either an
# Ollama or a C++ compiler to build one. Works with make 3.81 (macOS) and on.

VERSION = $(shell git describe --tags --always --dirty 2>/dev/null)
LDFLAGS = $(if $(VERSION),-ldflags '-X main.stamped=$(VERSION)')
BUILD   = CGO_ENABLED=0 go build -trimpath $(LDFLAGS)

# The race detector needs a C compiler, which a machine with Go may lack.
RACE = $(shell test "$$(go env CGO_ENABLED)" = 1 && set -- $$(go env CC) && command -v "$$1" >/dev/null && echo -race)

GENERATED = core/plugin/pluginpb/*.pb.go
PLATFORMS = linux/amd64 linux/arm64 darwin/amd64 darwin/arm64

# What a release adds to the plugin contract is copied to testdata/proto, with
# which the contract is compared from then on.
BUF = github.com/bufbuild/buf/cmd/buf@v1.75.0

# ./... leaves out what is below testdata.
PACKAGES = ./... ./testdata/mkgguf ./testdata/bench

.PHONY: help demo run build test e2e bench generate check contract cross clean $(PLATFORMS)

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: build ## build and run in front of a simulated Ollama: nothing else is needed
	bin/foreman serve --demo

run: build ## build and run in front of your Ollama ($OLLAMA_HOST)
	bin/foreman serve

build: ## build bin/foreman
	$(BUILD) -o bin/foreman ./cmd/foreman

test: ## run the tests, with the race detector where there is a C compiler
	go test $(RACE) -timeout 10m ./...

e2e: ## run the end-to-end tests against a real Ollama ($OLLAMA_BIN, else found or installed)
	bin=$$(testdata/ollama-e2e/ollama-bin) && \
	OLLAMA_BIN=$$bin go test $(RACE) -count=1 -timeout 10m -v -run '^TestE2E' ./core/testkit ./cmd/foreman

bench: build ## measure, and print a table (10 minutes)
	go run ./testdata/bench

generate: ## write the generated code anew
	go generate ./...

check: ## check go.mod, format, vet, staticcheck, generated code and the plugin contract
	go mod tidy -diff
	@unformatted=$$(gofmt -l .); test -z "$$unformatted" || { echo "run gofmt -w on:"; echo "$$unformatted"; exit 1; }
	go vet $(PACKAGES)
	go tool staticcheck $(PACKAGES)
	@before=$$(cat $(GENERATED) | cksum); \
	$(MAKE) --no-print-directory generate || exit 1; \
	test "$$before" = "$$(cat $(GENERATED) | cksum)" || { echo "generated code was stale and is now fresh: commit it"; exit 1; }
	$(MAKE) --no-print-directory contract

# The modules that buf is built from come from Go's cache, if they are there, so
# that a machine off the net can check too.
contract: ## check that plugins which are out there still fit
	@cd core/plugin/pluginpb && \
	GOFLAGS= GOPROXY="file://$$(go env GOMODCACHE)/cache/download,$$(go env GOPROXY)" \
	go run $(BUF) breaking --against ../../../testdata/proto --config '{"version":"v2","breaking":{"use":["FILE"]}}'

cross: $(PLATFORMS) ## build for linux and darwin, amd64 and arm64
	GOOS=darwin CGO_ENABLED=0 go vet $(PACKAGES)

$(PLATFORMS):
	GOOS=$(@D) GOARCH=$(@F) $(BUILD) -o bin/foreman-$(@D)-$(@F) ./cmd/foreman

clean: ## remove what was built
	rm -rf bin
