#!/usr/bin/env bash
# Builds the harnesses and runs each for a while: tests/fuzz/run.sh [--hour | --seconds N | --runs N] [HARNESS…]
# All together 80 seconds unless something else is said; --hour is an hour for all, --runs N so many inputs for each.
# From an empty corpus the same inputs each time; --hour draws others.
# What it found lies in build/fuzz/found, and the inputs it thought worth keeping in build/fuzz/corpus.
set -euo pipefail
cd "$(dirname "$0")/../.."

total=80 limit=() seed=1
while [[ "${1:-}" == --* ]]; do
    case "$1" in
        --hour) total=3600 seed=0 && shift ;;
        --seconds) total=$2 && shift 2 ;;
        --runs) limit=(-runs="$2") && shift 2 ;;
        *) echo "$0 [--hour | --seconds N | --runs N] [HARNESS…]" >&2 && exit 2 ;;
    esac
done

build=build/fuzz
compiler=${CXX:-$(compgen -c clang++ | grep -xE 'clang\+\+(-[0-9]+)?' | sort -V | tail -1 || echo clang++)}
cmake -S tests/fuzz -B $build -G Ninja -DCMAKE_CXX_COMPILER="$compiler" >$build.log 2>&1 ||
    { cat $build.log >&2; exit 1; }
cmake --build $build >>$build.log 2>&1 || { tail -50 $build.log >&2; exit 1; }
python3 tests/fuzz/seeds.py $build/seeds

harnesses=("$@")
if ((${#harnesses[@]} == 0)); then
    for name in safetensors plugin gzip records experiment torch_file idx image; do
        [[ -x $build/$name ]] && harnesses+=($name)
    done
fi
((${#limit[@]})) || limit=(-max_total_time=$((total / ${#harnesses[@]})))

# No input may take longer than 5 seconds or more than 512 MB, which is counted without what the sanitizers keep.
export ASAN_OPTIONS=detect_leaks=1:quarantine_size_mb=16:allocator_may_return_null=0:detect_container_overflow=0
export UBSAN_OPTIONS=print_stacktrace=1
mkdir -p $build/found
code=0
for name in "${harnesses[@]}"; do
    mkdir -p $build/corpus/"$name"
    if $build/"$name" "${limit[@]}" -seed=$seed -timeout=5 -malloc_limit_mb=512 -rss_limit_mb=2048 \
        -max_len=4096 -print_final_stats=1 -artifact_prefix=$build/found/"$name"- \
        $build/corpus/"$name" $build/seeds/"$name" >$build/"$name".log 2>&1; then
        printf '%-12s %s inputs, nothing found\n' "$name" \
            "$(sed -n 's/^stat::number_of_executed_units: *//p' $build/"$name".log)"
    else
        printf '%-12s FAULT, see %s\n' "$name" "$build/$name.log"
        tail -40 $build/"$name".log
        code=1
    fi
done
exit $code
