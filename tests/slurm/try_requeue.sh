#!/usr/bin/env bash
# Tries the job script of docs/experiments.md on a real slurmd of its own: a job is warned before its time is up, saves
# itself, is put back in the queue, and goes on until the run is complete.
#
#     tests/slurm/try_requeue.sh PROGRAM        PROGRAM: dtk as it was built
#
# Needs Debian's slurm-wlm and munge, and root. What it starts it ends.
set -euo pipefail
program=$(realpath "$1")
here=$(dirname "$(realpath "$0")")
source "$here/own_slurm.sh"

# The script of the documentation, with a minute for each turn.
cd "$work"
sed -n '/^#!\/bin\/sh$/,/^```$/p' "$here/../../docs/experiments.md" | grep -v '^```' |
    sed -e 's/--time=04:00:00/--time=00:01:00/' -e 's/USR1@90/USR1@45/' -e "s|^dtk |$program |" \
        ${REQUEUE_EXIT:+-e '/scontrol requeue/d'} > job.sh
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
steps = ${STEPS:-60000}
batch = 32
log_every = 1000
TOML
job=$(sbatch --parsable job.sh)
echo "job $job"
for _ in $(seq 900); do
    sleep 1
    grep -q '"status": "completed"' runs/big/run.json 2> /dev/null && break
done
cat "slurm-$job.out"
grep -q '"status": "completed"' runs/big/run.json
turns=$(grep -c 'going on after step' "slurm-$job.out")
echo "complete after $turns requeues"
[ "$turns" -ge 1 ]
