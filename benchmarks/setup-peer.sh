#!/usr/bin/env bash
# Sets up what dtk is compared with: Python's PyTorch in the version of dtk's LibTorch, in an environment of its own.
# From the Python package index that is a build with CUDA's libraries, about 2.5 GB to fetch; elsewhere there are builds for
# CPUs alone: pip takes another index from PIP_INDEX_URL.
#   DTK_PEER   where it goes (build/peer)
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
peer=${DTK_PEER:-$root/build/peer}
python3 -m venv "$peer"
"$peer/bin/pip" install torch==2.11.0 hydra-core hydra-joblib-launcher
"$peer/bin/python" -W ignore -c 'import torch; print("peer: PyTorch", torch.__version__)'
