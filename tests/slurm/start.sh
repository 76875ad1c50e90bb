#!/usr/bin/env bash
# A Slurm of one node on this machine, for `pytest -m slurm`: Debian's slurm-wlm and munge, installed if they are absent.
# Run it again at will: what runs is left alone. Everything it writes lies in $GAINRL_SLURM (default /tmp/gainrl-slurm), and
# commands find this Slurm by SLURM_CONF=$GAINRL_SLURM/slurm.conf, so a Slurm that the machine has of its own is not touched.
set -euo pipefail
home=${GAINRL_SLURM:-/tmp/gainrl-slurm}
export SLURM_CONF=$home/slurm.conf

fail() { echo "start.sh: $*" >&2; exit 1; }
idle() { sinfo --noheader --format=%T 2>/dev/null | grep -Eq '^(idle|mixed|allocated)$'; }

if [ -e "$SLURM_CONF" ] && idle; then exit 0; fi
[ "$(id -u)" = 0 ] || fail "a Slurm of one's own is started by root; run it in a container, or as root"

if ! command -v slurmctld slurmd munged >/dev/null; then
    command -v apt-get >/dev/null || fail "slurmctld, slurmd and munged are not there, nor apt-get to install them"
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends slurm-wlm munge \
        >/dev/null || fail "apt-get could not install slurm-wlm and munge"
fi

mkdir -p "$home/state" "$home/spool" /run/munge
if [ ! -e /etc/munge/munge.key ]; then
    dd if=/dev/urandom of=/etc/munge/munge.key bs=1024 count=1 status=none
fi
chown munge:munge /etc/munge/munge.key /run/munge
chmod 400 /etc/munge/munge.key
munge --no-input >/dev/null 2>&1 || setpriv --reuid=munge --regid=munge --clear-groups munged || fail "munged did not start"

# cred_expire is also how long a requeued job waits; KillWait how long a job has between SIGTERM and SIGKILL.
cat >"$SLURM_CONF" <<CONF
ClusterName=test
SlurmctldHost=localhost
SlurmUser=root
AuthType=auth/munge
AuthInfo=cred_expire=5
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
JobRequeue=1
KillWait=10
StateSaveLocation=$home/state
SlurmdSpoolDir=$home/spool
SlurmctldPidFile=$home/slurmctld.pid
SlurmdPidFile=$home/slurmd.pid
SlurmctldLogFile=$home/slurmctld.log
SlurmdLogFile=$home/slurmd.log
MpiDefault=none
NodeName=localhost CPUs=2 RealMemory=4000 State=UNKNOWN
PartitionName=all Nodes=localhost Default=YES MaxTime=INFINITE State=UP
CONF
scontrol ping 2>/dev/null | grep -q UP || slurmctld || fail "slurmctld did not start; see $home/slurmctld.log"
[ -e "$home/slurmd.pid" ] && kill -0 "$(cat "$home/slurmd.pid")" 2>/dev/null || slurmd -N localhost ||
    fail "slurmd did not start; see $home/slurmd.log"
for _ in $(seq 60); do
    if idle; then exit 0; fi
    sleep 0.5
done
fail "the node is not idle after 30 s: $(sinfo --noheader --format='%T %E' 2>&1); see $home/slurmctld.log and slurmd.log"
