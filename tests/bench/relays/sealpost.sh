#!/bin/bash
# Sealpost as the relay under test, for a rig that sources $BENCH/lib.sh and gives $WORK, $CERTS,
# $RELAY_ADDR, $SINK_ADDR and $DNS_ADDR. VARIANT: none (plain text) | tls (verified certificate).
# ROUTE: smarthost (everything to $SINK_ADDR) | mx (DNS, port 25). SEALPOST: the binary.
source "$BENCH/lib.sh"
D=$WORK/sealpost
SEALPOST=${SEALPOST:-$(cd "$(dirname "${BASH_SOURCE[0]}")/../../.." && pwd)/target/release/sealpost}
case $1 in
start)
  rm -rf "$D"; mkdir -p "$D/data"; chmod 700 "$D/data"
  {
    cat <<C
[server]
hostname = "relay.bench.test"
data-dir = "$D/data"

[access]
relay-networks = ["127.0.0.0/8"]
connections-per-client = 1000

[dns]
servers = ["$DNS_ADDR:53"]

[tls]
dangerous-extra-roots = ["$CERTS/ca.pem"]

[egress]
allow-special-use = ["127.0.0.0/8"]

[queue]
retry = ["${BACKOFF:-300s}"]

[admin]
socket = "$D/control.sock"
http = "127.0.11.1:8025"

[log]
format = "${LOGFORMAT:-json}"
file = "$D/sealpost.log"

[[listener]]
name = "bench"
address = ["$RELAY_ADDR"]
C
    case $VARIANT in *none) ;; *) printf '\n[delivery]\ntls = "verified"\n' ;; esac
    if [ "$ROUTE" != mx ]; then
      case $VARIANT in *none) tls=dangerous-off ;; *) tls=verified ;; esac
      printf '\n[[route]]\nrecipient-domain = "*"\nrelay = "[%s]:%s"\ntls = "%s"\ntls-name = "mx.sink.test"\n' \
        "${SINK_ADDR%:*}" "${SINK_ADDR#*:}" "$tls"
    fi
    printf '%s\n' "${EXTRA:-}"
  } > "$D/sealpost.toml"
  isolated "$SEALPOST" serve --config "$D/sealpost.toml" > "$D/out.log" 2>&1 &
  wait_relay ;;
stop)
  pkill -TERM -f "serve --config $D/sealpost.toml" 2>/dev/null; wait_group_empty ;;
flush)
  "$SEALPOST" queue retry --all --yes --config "$D/sealpost.toml" ;;
queued)
  "$SEALPOST" queue list --json --config "$D/sealpost.toml" --limit 1000000 | grep -o '"id"' | wc -l ;;
dir) echo "$D/data" ;;
esac
