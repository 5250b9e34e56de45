#!/usr/bin/env bash
# Tries the recipe "Many processes" of docs/experiments.md on a real slurmd of its own: srun starts four processes that
# train together, a signal to one of them stops all with code 85, and two of them go on to the bits of one process.
#
#     tests/slurm/try_many.sh PROGRAM        PROGRAM: dtk as it was built
#
# Needs Debian's slurm-wlm and munge, and root. What it starts it ends.
set -euo pipefail
program=$(realpath "$1")
here=$(dirname "$(realpath "$0")")
export CPUS=4
source "$here/own_slurm.sh"

cd "$work"
cat > experiment.toml <<TOML
name = "big"
seed = 1
threads = 1
[dataset]
use = "gaussian_mixture"
[model]
use = "mlp"
width = 16
depth = 1
[train]
steps = ${STEPS:-3000}
batch = 64
reduction = "strict"
checkpoint_every = 100
log_every = 100
[sample]
n = 100
TOML
train="$program run experiment.toml --progress plain --resume --out"
srun --ntasks 4 $train runs/big 2> srun.err &
run=$!
until [ -e runs/big/checkpoints/00000100.safetensors ]; do sleep 0.1; kill -0 $run; done
# srun hands its signals to all of its processes; this one goes to one.
kill -TERM "$(pgrep -f "$program run experiment.toml" | tail -1)"
code=0
wait $run || code=$?
cat srun.err
echo "srun ended with $code"
[ $code -eq 85 ]
[ -z "$(ls -A runs | grep meeting || true)" ]

srun --ntasks 2 $train runs/big
$train runs/one
last=$(printf '%08d.safetensors' "${STEPS:-3000}")
cmp runs/big/samples.safetensors runs/one/samples.safetensors
cmp runs/big/checkpoints/$last runs/one/checkpoints/$last
grep '"processes"' runs/*/run.json
echo "the same bits from four, two and one"
