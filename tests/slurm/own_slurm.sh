# To be sourced: a slurmctld and a slurmd of one's own, with ${CPUS:-1} processors, whatever the machine has. What this
# starts it ends. Sets `work`, a folder that goes with it.
work=$(mktemp -d)
host=$(hostname -s)
export SLURM_CONF=$work/slurm.conf
mkdir -p "$work"/{state,spool,log} /run/munge
chmod 700 "$work/log"

end() {
    for name in slurmd slurmctld munged; do [ -f "$work/$name.pid" ] && kill "$(cat "$work/$name.pid")" || true; done
    rm -rf "$work" 2> /dev/null || { sleep 2; rm -rf "$work"; } # slurmctld writes to the last
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
SlurmdParameters=config_overrides
MpiDefault=none
ReturnToService=2
NodeName=$host CPUs=${CPUS:-1} State=UNKNOWN
PartitionName=p Nodes=$host Default=YES MaxTime=INFINITE State=UP
${REQUEUE_EXIT:+RequeueExit=85}
CONF
slurmctld -f "$SLURM_CONF" -c
slurmd -f "$SLURM_CONF" -c
