# hob: build, test and run. GNU make, one file.
#   make            build/hob (optimised)
#   make deps       install the Debian packages (root or sudo; nothing if present)
#   make run        deps, build, demo model, serve
#   make test       everything that can fail, ends with `N passed, N failed`
MAKEFLAGS += --no-builtin-rules
SHELL := /bin/bash
.DEFAULT_GOAL := all

CC ?= cc
ifeq ($(CC),)
CC := cc
endif
BUILD ?= build
PKGS := libmicrohttpd jansson sqlite3 libcurl libcrypto libsodium libutf8proc libpcre2-8 libedit \
  libpng zlib libjpeg libwebp libwebpdemux libwebpmux libzstd

WARN := -Wall -Wextra -Wpedantic -Wshadow -Wundef -Wvla -Wstrict-prototypes -Wmissing-prototypes \
  -Wpointer-arith -Wcast-qual -Wwrite-strings -Wformat=2 -Wimplicit-fallthrough -Wswitch-enum \
  -Wdouble-promotion -Wconversion -Wno-sign-conversion -Wno-string-conversion -Werror
OPT ?= -O2 -D_FORTIFY_SOURCE=2
SAN ?=
KERN_OPT ?= -O3
HARDEN ?= -fstack-protector-strong -fPIE
CFLAGS := -std=c11 -D_GNU_SOURCE -Isrc -g -fvisibility=hidden -fno-omit-frame-pointer \
  $(OPT) $(HARDEN) $(SAN) $(WARN) $(shell pkg-config --cflags $(PKGS) 2>/dev/null)
LDFLAGS := -pie -Wl,-z,relro,-z,now $(SAN)
LDLIBS = $(shell pkg-config --libs $(PKGS)) -lwslay -lm -lpthread

SRC := $(sort $(shell find src -name '*.c'))
OBJ := $(SRC:src/%.c=$(BUILD)/obj/%.o)

# The front end: built once for all variants of the program, linked in as bytes (tools/web-embed).
WEB := build/web
WEB_OBJ := $(BUILD)/obj/web/web_files.o $(BUILD)/obj/web/web_bytes.o
WEB_SRC := $(shell find web -name node_modules -prune -o -type f -print)
OBJ += $(WEB_OBJ)
LIB_OBJ := $(filter-out $(BUILD)/obj/main.o,$(OBJ))

# One program per C test file, linked with everything but main.
TEST_SRC := $(sort $(wildcard tests/unit/*.c tests/kern/*.c tests/fault/*.c tests/sim/*.c tests/golden/*.c))
TEST_BIN := $(TEST_SRC:tests/%.c=$(BUILD)/tests/%)

.PHONY: all deps demo run test tidy asan tsan fuzz bench web check-build check-clang asan-build tsan-build fuzz-build fuzz-programs clean
all: $(BUILD)/hob

# Kernels are compiled for their own instruction set and chosen at run time.
$(BUILD)/obj/kern/x86/%_avx2.o: KERN_FLAGS := -mavx2 -mfma -mf16c -mbmi2 $(KERN_OPT)
$(BUILD)/obj/kern/x86/%_avxvnni.o: KERN_FLAGS := -mavx2 -mfma -mf16c -mbmi2 -mavxvnni $(KERN_OPT)
$(BUILD)/obj/kern/x86/%_avx512.o: KERN_FLAGS := -mavx2 -mfma -mf16c -mbmi2 -mavx512f -mavx512bw \
  -mavx512vl -mavx512dq -mavx512vnni $(KERN_OPT) -mprefer-vector-width=512
$(BUILD)/obj/kern/x86/%_bf16.o: KERN_FLAGS := -mavx2 -mfma -mf16c -mbmi2 -mavx512f -mavx512bw \
  -mavx512vl -mavx512dq -mavx512vnni -mavx512bf16 $(KERN_OPT) -mprefer-vector-width=512
$(BUILD)/obj/kern/x86/%_amx.o: KERN_FLAGS := -mavx2 -mfma -mf16c -mbmi2 -mavx512f -mavx512bw \
  -mavx512vl -mavx512dq -mavx512vnni -mamx-tile -mamx-bf16 $(KERN_OPT) -mprefer-vector-width=512

$(BUILD)/obj/diffusion/clip_tok.o: src/diffusion/clip_merges.txt

$(BUILD)/hob: $(OBJ)
	@echo "  LD   $@"
	@$(CC) $(LDFLAGS) -o $@ $(OBJ) $(LDLIBS)

$(BUILD)/libhob.a: $(LIB_OBJ)
	@rm -f $@; ar rcs $@ $(LIB_OBJ)

$(BUILD)/obj/%.o: src/%.c
	@mkdir -p $(@D)
	@echo "  CC   $<"
	@$(CC) $(CFLAGS) $(KERN_FLAGS) -MMD -MP -c -o $@ $<

$(BUILD)/tests/%: tests/%.c $(BUILD)/libhob.a
	@mkdir -p $(@D)
	@echo "  TEST $<"
	@$(CC) $(CFLAGS) -Itests -Wno-missing-prototypes -MMD -MP $(LDFLAGS) -o $@ $< $(BUILD)/libhob.a -lcmocka $(LDLIBS)

check-build: all $(TEST_BIN)

# clang's warnings where it is not clang that builds: the fuzz programs have all of src/ but main.c.
check-clang:
	@printf '%s\n' src/main.c $(TEST_SRC) | xargs -P2 -n8 clang -fsyntax-only $(CFLAGS) -Itests -Wno-missing-prototypes

deps:
	@tools/deps test

demo: all
	@tools/demo

run:
	@tools/deps
	@echo "run: building"
	@$(MAKE) -s -j2 all
	@echo "run: fetching the demo models (98 MB, once)"
	@tools/demo smollm2 emoji-sd
	@echo "run: serving; try: $(BUILD)/hob run smollm2:135m \"Why is the sky blue?\""
	@exec $(BUILD)/hob serve

test:
	@tools/deps test
	@$(MAKE) -s -j2 check-build
	@$(MAKE) -s -j2 asan-build fuzz-build
	@tools/demo --no-import
	@tools/clients
	@tools/test

tidy:
	@tools/tidy

# The whole program and its tests under AddressSanitizer and UndefinedBehaviorSanitizer.
# In the kernels, AddressSanitizer sees a wrong address; the pointer checks before it would double their time.
KERN_UNCHECKED := -fno-sanitize=pointer-overflow,null,alignment,object-size
asan-build:
	@$(MAKE) -s -j2 BUILD=build/asan OPT="-O1" KERN_OPT="-O1 $(KERN_UNCHECKED)" HARDEN= SAN="-fsanitize=address,undefined -fno-sanitize-recover=all" check-build
asan: asan-build
	@tools/test asan

# The tests that use several threads under ThreadSanitizer.
tsan-build:
	@$(MAKE) -s BUILD=build/tsan OPT="-O1" KERN_OPT="-O1" HARDEN= SAN="-fsanitize=thread" check-build
tsan: tsan-build
	@tools/test tsan

# Fuzz targets: one program per file, with clang's libFuzzer.
FUZZ_BIN := $(patsubst tests/fuzz/%.c,$(BUILD)/fuzz_%,$(wildcard tests/fuzz/*.c))
$(BUILD)/fuzz_%: tests/fuzz/%.c $(BUILD)/libhob.a
	@echo "  FUZZ $<"
	@$(CC) $(CFLAGS) -Wno-missing-prototypes -MMD -MP -fsanitize=fuzzer $(LDFLAGS) -o $@ $< $(BUILD)/libhob.a $(LDLIBS)
fuzz-programs: $(FUZZ_BIN)
# Not in the kernels: no fuzzed byte reaches them, and clang takes minutes to instrument them.
fuzz-build:
	@$(MAKE) -s -j2 BUILD=build/fuzz CC=clang OPT="-O1" KERN_OPT="-O1 -fno-sanitize=all" HARDEN= \
	  SAN="-fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all" fuzz-programs
fuzz: fuzz-build
	@tools/test fuzz

BENCH_BIN := $(patsubst bench/%.c,$(BUILD)/bench/%,$(wildcard bench/*.c))
$(BUILD)/bench/%: bench/%.c $(BUILD)/libhob.a
	@mkdir -p $(@D)
	@$(CC) $(CFLAGS) -MMD -MP $(LDFLAGS) -o $@ $< $(BUILD)/libhob.a $(LDLIBS)

bench: all $(BENCH_BIN)
	@bench/run

web: $(WEB)/web_files.c

web/node_modules/.package-lock.json: web/package-lock.json
	@command -v npm >/dev/null || { echo "web: npm is missing; run make deps" >&2; exit 1; }
	@echo "  NPM  web"
	@cd web && npm ci --no-audit --no-fund --ignore-scripts --loglevel=error
	@touch $@

$(WEB)/web_files.c: $(WEB_SRC) web/node_modules/.package-lock.json tools/web-embed
	@echo "  WEB  $@"
	@cd web && node_modules/.bin/vite build --logLevel warn --outDir ../$(WEB)/dist --emptyOutDir
	@tools/web-embed $(WEB)/dist $(WEB)

$(BUILD)/obj/web/web_files.o: $(WEB)/web_files.c src/api/web_page.h
	@mkdir -p $(@D)
	@$(CC) $(CFLAGS) -c -o $@ $<

$(BUILD)/obj/web/web_bytes.o: $(WEB)/web_files.c
	@mkdir -p $(@D)
	@$(CC) -c -o $@ $(WEB)/web_bytes.S

clean:
	rm -rf $(BUILD)

-include $(OBJ:.o=.d) $(TEST_BIN:%=%.d)
