#!/usr/bin/env bash
# A Ray cluster of one machine, for `ray job submit` on a laptop or a single GPU server.
#
#   cluster/local.sh        runs until Ctrl-C
#
# The dashboard and the jobs' port answer on 127.0.0.1 only. Ray's internal ports listen on all addresses of
# the machine, so the cluster demands a token, a new one each time; RAY_AUTH_TOKEN sets your own, and
# RAY_AUTH_MODE=disabled does without. PORT (6379), DASHBOARD_PORT (8265), CPUS and GPUS (what the
# machine has) change the defaults.
set -euo pipefail
cd "$(dirname "$0")/.."
PORT=${PORT:-6379} DASHBOARD_PORT=${DASHBOARD_PORT:-8265}
for port in "$PORT" "$DASHBOARD_PORT"; do
  if [ "$port" -ge 10002 ] && [ "$port" -le 19999 ]; then
    echo "cluster/local.sh: port $port is one of Ray's workers' (10002 to 19999); choose another" >&2
    exit 2
  fi
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
# Serve's own cost of a streamed token is a third less so.
export RAY_SERVE_THROUGHPUT_OPTIMIZED=${RAY_SERVE_THROUGHPUT_OPTIMIZED:-1}
export RAY_SERVE_ENABLE_DIRECT_INGRESS=${RAY_SERVE_ENABLE_DIRECT_INGRESS:-0}
export RAY_USAGE_STATS_ENABLED=${RAY_USAGE_STATS_ENABLED:-0} RAY_AUTH_MODE=${RAY_AUTH_MODE:-token}
if [ "$RAY_AUTH_MODE" = token ]; then
  export RAY_AUTH_TOKEN=${RAY_AUTH_TOKEN:-$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')}
fi
cat <<NOTE
Ray is coming up; Ctrl-C stops it and what runs on it. In another terminal:

  source .venv/bin/activate
  export RAY_API_SERVER_ADDRESS=http://127.0.0.1:$DASHBOARD_PORT RAY_AUTH_MODE=$RAY_AUTH_MODE RAY_AUTH_TOKEN=${RAY_AUTH_TOKEN:-}
  ochat-ray sample rehearsal/pages
  ochat-ray base rehearsal/base --recipe tiny-cpu
  ochat-ray submit pipeline "\$PWD/rehearsal/pages" "\$PWD/rehearsal/out" --base "\$PWD/rehearsal/base" --recipe tiny-cpu
  ochat-ray chat "What is the capital of Australia?"

NOTE
stopped=
trap 'stopped=1' INT TERM
ray start --head --block --port "$PORT" --temp-dir "$TEMP" --log-style record --log-color false \
  --include-dashboard true --dashboard-host 127.0.0.1 --dashboard-port "$DASHBOARD_PORT" \
  ${CPUS:+--num-cpus "$CPUS"} ${GPUS:+--num-gpus "$GPUS"} >"$TEMP/start.log" 2>&1 || status=$?
if [ -z "$stopped" ] && [ "${status:-0}" -ne 0 ]; then
  tail -n 20 "$TEMP/start.log" >&2
  exit "$status"
fi
