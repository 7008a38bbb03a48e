#!/usr/bin/env bash
# Lets libFuzzer, which is led by coverage, work on the targets of tests/fuzz; `cargo test` only replays what it has found.
#
#   scripts/fuzz.sh                       each target for 60 seconds
#   scripts/fuzz.sh 600                   each for ten minutes
#   scripts/fuzz.sh 600 rdb:: readers::   those whose names have one of these parts
#   scripts/fuzz.sh --build               only build
#
# Works with a stable compiler (the coverage is LLVM's own) and needs a C++ compiler for libFuzzer. With
# FUZZ_ASAN=1, the address sanitizer watches as well; that needs a nightly compiler (cargo +nightly).
# Inputs that reach something new collect in target/fuzz/corpus; a seed corpus is made of what redis-server writes, if it
# is there. An input that fails is written to tests/fuzz/__fuzz__/<target>/crashes, where `cargo test` replays it.
set -euo pipefail
cd "$(dirname "$0")/.."

export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-target/fuzz}
host=$(rustc -vV | sed -n 's/^host: //p')
# Debug assertions and overflow checks stay on: they are what is to be found. The allocation limit finds lengths that are
# believed before they are checked.
flags=(
    --cfg fuzzing --cfg fuzzing_libfuzzer
    -Cpasses=sancov-module
    -Cllvm-args=-sanitizer-coverage-level=4
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters
    -Cllvm-args=-sanitizer-coverage-pc-table
    -Cllvm-args=-sanitizer-coverage-trace-compares
    # The server is built with the tests, without libFuzzer, and never run.
    -Clink-arg=-Wl,--unresolved-symbols=ignore-all
    -Ccodegen-units=1 -Cdebug-assertions -Coverflow-checks -Copt-level=3 -Cdebuginfo=line-tables-only
)
toolchain=()
if [[ -n ${FUZZ_ASAN:-} ]]; then
    toolchain=(+nightly)
    flags+=(-Zsanitizer=address)
    CARGO_TARGET_DIR+=-asan
fi

# libFuzzer itself: it takes half of the time if it is compiled as the profile for development has it.
export CXXFLAGS="-O2 ${CXXFLAGS:-}"

build() {
    # The flags are for this crate and what it uses, not for what runs while it is built: hence --target.
    CARGO_ENCODED_RUSTFLAGS=$(printf '%s\x1f' "${flags[@]}" | sed 's/\x1f$//') \
        cargo "${toolchain[@]}" test --no-run --target "$host" --test fuzz --message-format=json |
        sed -n 's/.*"executable":"\([^"]*\/fuzz-[^"]*\)".*/\1/p' | tail -1
}

seconds=60
only_build=
case ${1:-} in
    --build) only_build=1 ;;
    --help | -h) sed -n '2,/^set/p' "$0" | sed '$d; s/^# \{0,1\}//'; exit ;;
    [0-9]*) seconds=$1; shift ;;
esac
program=$(build)
if [[ -z $program ]]; then
    echo "fuzz: nothing was built" >&2
    exit 1
fi
[[ -z $only_build ]] || exit 0

work=$CARGO_TARGET_DIR
if command -v redis-server >/dev/null && [[ ! -d $work/seeds ]]; then
    python3 scripts/fuzz_seeds.py "$work/seeds"
fi

failed=()
# Without an engine's arguments a target would end the program, so the list comes from the harness.
while read -r target; do
    if [[ $# -gt 0 ]]; then
        wanted=
        for part in "$@"; do [[ $target == *"$part"* ]] && wanted=1; done
        [[ -n $wanted ]] || continue
    fi
    name=${target//::/__}
    corpus=$work/corpus/$name crashes=tests/fuzz/__fuzz__/$name/crashes
    mkdir -p "$corpus" "$crashes"
    given=()
    for directory in "tests/fuzz/__fuzz__/$name/corpus" "$work/seeds/$name"; do
        [[ -d $directory ]] && given+=("$directory")
    done
    arguments="$corpus ${given[*]} -artifact_prefix=$crashes/ -max_total_time=$seconds -timeout=10 -rss_limit_mb=2048"
    arguments+=" -malloc_limit_mb=256 -max_len=2048 -print_final_stats=1"
    echo "== $target"
    if ! BOLERO_LIBFUZZER_ARGS=${arguments//  / } "$program" "$target" --exact --nocapture --test-threads=1 \
        >"$work/$name.log" 2>&1 </dev/null; then
        failed+=("$target")
        grep -a -A3 "panicked at\|^SUMMARY" "$work/$name.log" | cut -c1-500
    fi
    grep -ah 'stat::number_of_executed_units\|stat::peak_rss_mb' "$work/$name.log" || true
    rmdir --ignore-fail-on-non-empty -p "$crashes" 2>/dev/null || true
done < <("$program" --list 2>/dev/null | sed -n 's/: test$//p' | grep -v 'samples_are_right')
if [[ ${#failed[@]} -gt 0 ]]; then
    echo "== failed: ${failed[*]}" >&2
    exit 1
fi
