#!/usr/bin/env bash
# What Dockerfile and apptainer.def run, as root in an image of Debian: dtk in /usr/local with the SDK and a compiler,
# LibTorch in /opt/dtk, the experiments in /usr/local/share/dtk. The tree that it was built from is removed.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
export DTK_HOME=/opt/dtk DTK_YES=1
"$root/dtk" setup "$@"
"$root/dtk" build
cmake --install "$root/build/release" --prefix /usr/local
mkdir -p /usr/local/share/dtk
cp -r "$root/experiments" /usr/local/share/dtk
rm -rf "$root" /var/lib/apt/lists/*
