#!/usr/bin/env bash
# Plugins that were built against the first headers of their interface's major version still work: tests/old_plugins.sh
# Takes those headers, or the first ones of the helpers' version, out of the history, builds what `dtk new` wrote then
# against them, and tries it with today's dtk.
set -euo pipefail
cd "$(dirname "$0")/.."
work=build/old_plugins
if [[ $(git rev-parse --is-shallow-repository) == true ]]; then
    echo "the history is not here (git fetch --unshallow), so no earlier headers are tried"
    exit
fi
since() {  # a line of a header → the first commit with it
    git log --reverse --format=%H -G"$1" -- "$2" | head -1
}
helpers=$(since "$(grep '^#define DTK_HELPERS_VERSION ' core/include/dtk/build.hpp)" core/include/dtk/build.hpp)
for kind in Schedule Sampler; do
    small=${kind,,}
    major=$(sed -n "s/^#define DTK_${kind}_VERSION \([0-9]*\)_.*/\1/p" "core/include/dtk/$small.hpp")
    first=$(since "^#define DTK_${kind}_VERSION ${major}_" "core/include/dtk/$small.hpp")
    ! git merge-base --is-ancestor "$first" "$helpers" || first=$helpers
    rm -rf "$work"
    mkdir -p "$work/then"
    git archive "$first" core/include core/cli/templates cmake | tar -x -C "$work/then"
    # Today's libraries and the headers of then.
    cmake --install build/release --prefix "$work/sdk" --component sdk >/dev/null
    rm -rf "$work/sdk/include/dtk"
    cp -r "$work/then/core/include/dtk" "$work/sdk/include/dtk"
    cp "$work/then/cmake/dtk_add_plugin.cmake" "$work/sdk/lib/cmake/dtk/"
    cp "$work/then/core/cli/templates/$small.cpp" "$work/my_$small.cpp"
    printf '%s\n' "cmake_minimum_required(VERSION 3.25)" "project(old CXX)" "find_package(dtk REQUIRED)" \
        "dtk_add_plugin(my_$small my_$small.cpp)" >"$work/CMakeLists.txt"
    cmake -S "$work" -B "$work/build" -G Ninja -DCMAKE_PREFIX_PATH="$PWD/$work/sdk" >"$work/log.txt" 2>&1 &&
        cmake --build "$work/build" >>"$work/log.txt" 2>&1 || { cat "$work/log.txt" >&2; exit 1; }
    echo "$kind $major, built against the headers of $(git log -1 --format='%h, %cs' "$first")"
    build/release/dtk plugins check "$work/build/plugins/my_$small.so"
done
