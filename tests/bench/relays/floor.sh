#!/bin/bash
# The floor (tests/bench/floor) as the relay under test, one destination only. FLOOR: the binary. HOLD=1: it only accepts.
source "$BENCH/lib.sh"
D=$WORK/floor
FLOOR=${FLOOR:-$(cd "$(dirname "${BASH_SOURCE[0]}")/../floor" && pwd)/target/release/floor}
case $1 in
start)
  SINK=$SINK_ADDR; [ -n "$HOLD" ] && SINK=-
  rm -rf "$D"; mkdir -p "$D"
  isolated "$FLOOR" "$RELAY_ADDR" "$SINK" mx.sink.test "$CERTS/ca.pem" "$D/data" "${WORKERS:-2}" > "$D/out.log" 2>&1 &
  wait_relay ;;
stop)
  pkill -TERM -f "^[^ ]*floor $RELAY_ADDR" 2>/dev/null; wait_group_empty ;;
flush | queued) echo "the floor keeps no queue" >&2; exit 2 ;;
dir) echo "$D" ;;
esac
