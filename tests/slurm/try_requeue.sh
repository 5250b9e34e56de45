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
work=$(mktemp -d)
host=$(hostname -s)
export SLURM_CONF=$work/slurm.conf
mkdir -p "$work"/{state,spool,log} /run/munge
chmod 700 "$work/log"

end() {
    for name in slurmd slurmctld munged; do [ -f "$work/$name.pid" ] && kill "$(cat "$work/$name.pid")" || true; done
    rm -rf "$work"
}
trap end EXIT

head -c 1024 /dev/urandom > "$work/key"
chmod 600 "$work/key"
munged --key-file="$work/key" --pid-file="$work/munged.pid" --log-file="$work/log/munged" --seed-file="$work/seed" --force
cat > "$SLURM_CONF" <<CONF
ClusterName=one
SlurmctldHost=$host
SlurmUser=root
SlurmctldPort=16817
SlurmdPort=16818
StateSaveLocation=$work/state
SlurmdSpoolDir=$work/spool
SlurmctldPidFile=$work/slurmctld.pid
SlurmdPidFile=$work/slurmd.pid
SlurmctldLogFile=$work/log/slurmctld
SlurmdLogFile=$work/log/slurmd
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
ReturnToService=2
NodeName=$host CPUs=1 State=UNKNOWN
PartitionName=p Nodes=$host Default=YES MaxTime=INFINITE State=UP
${REQUEUE_EXIT:+RequeueExit=85}
CONF
slurmctld -f "$SLURM_CONF" -c
slurmd -f "$SLURM_CONF" -c

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
