#!/usr/bin/env bash
# A Ray cluster of one machine, for `ray job submit` on a laptop or a single GPU server.
#
#   cluster/local.sh        runs until Ctrl-C
#
# The dashboard and the jobs' port answer on 127.0.0.1 only; Ray's internal ports listen on the machine's
# own address, so use it on a network that you trust.
# PORT (6379), DASHBOARD_PORT (8265), CPUS and GPUS (what the machine has) change the defaults.
# Then, in another terminal, as it prints: ray job submit --working-dir . -- python jobs/prepare.py ...
set -euo pipefail
cd "$(dirname "$0")/.."
PORT=${PORT:-6379} DASHBOARD_PORT=${DASHBOARD_PORT:-8265}
for port in "$PORT" "$DASHBOARD_PORT"; do
  if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
    echo "cluster/local.sh: port $port is busy; choose others with PORT=N and DASHBOARD_PORT=N" >&2
    exit 2
  fi
done
if [ -x .venv/bin/ray ]; then PATH="$PWD/.venv/bin:$PATH"; fi
command -v ray >/dev/null || { echo "cluster/local.sh: no ray on PATH; run 'make demo' once, it makes .venv" >&2; exit 2; }
# A short path: Ray's sockets live under it. Its own folder, so that other clusters are left alone.
TEMP=$(mktemp -d /tmp/ochat-cluster-XXXX)
trap 'rm -rf "$TEMP"' EXIT
export RAY_USAGE_STATS_ENABLED=${RAY_USAGE_STATS_ENABLED:-0} RAY_AUTH_MODE=${RAY_AUTH_MODE:-disabled}
cat <<NOTE
Ray is coming up. In another terminal:
  export RAY_API_SERVER_ADDRESS=http://127.0.0.1:$DASHBOARD_PORT
  ray job submit --working-dir . -- python jobs/prepare.py PAGES PREPARED --base BASE --recipe tiny-cpu
Ctrl-C stops the cluster and what runs on it.
NOTE
ray start --head --block --node-ip-address 127.0.0.1 --port "$PORT" --temp-dir "$TEMP" \
  --include-dashboard true --dashboard-host 127.0.0.1 --dashboard-port "$DASHBOARD_PORT" \
  ${CPUS:+--num-cpus "$CPUS"} ${GPUS:+--num-gpus "$GPUS"}
