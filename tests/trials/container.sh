#!/usr/bin/env bash
# Tries what a container is built by, without a program for containers: sudo tests/trials/container.sh [FOLDER]
# In a bare Debian (FOLDER, /tmp/dtk-trial-container, made anew) setup/container.sh runs as Dockerfile and apptainer.def
# let it; then a user who is not root trains, and writes and checks a plugin.
set -euo pipefail
source "$(dirname "$0")/bare_debian.sh"
bare_debian "${1:-/tmp/dtk-trial-container}" ca-certificates
rm -rf "$jail/tmp/dtk"
mkdir -p "$jail/tmp/dtk" "$jail/here"
chown 1000:1000 "$jail/here"
git -C "$root" ls-files -z | (cd "$root" && tar --null -T - -c) | tar -x -C "$jail/tmp/dtk"
start=$SECONDS
inside root "" /tmp/dtk/setup/container.sh
echo "built in $((SECONDS - start)) s"
inside nobody 1000:1000 bash -c 'cd /here && export HOME=/here &&
    dtk run /usr/local/share/dtk/experiments/quickstart.toml --out quickstart && dtk new sampler mine && dtk plugins check mine.cpp'
