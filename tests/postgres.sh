#!/usr/bin/env bash
# A private PostgreSQL cluster for the tests, from Debian's package; gone with whoever asked for it.
#
#   tests/postgres.sh run COMMAND…        runs COMMAND with VOCEGUIDA_TEST_POSTGRES set, then stops the cluster
#   tests/postgres.sh serve [durable]     prints the cluster's URL and runs until stdin ends
#
# It listens on a unix socket in its own directory only. Without `durable`, fsync is off: a killed process loses
# nothing by that, a power cut would.
set -euo pipefail

find_binaries() {
    local bin
    for bin in $(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -rV) $(pg_config --bindir 2>/dev/null || true); do
        if [[ -x $bin/initdb && -x $bin/postgres ]]; then
            echo "$bin"
            return
        fi
    done
    echo "PostgreSQL is missing: run tests/install.sh" >&2
    return 1
}

# Runs as the user that owns the cluster. Its text is handed over whole, because that user may not be able to read this file.
# The parent holds the other end of stdin: however it dies, `cat` ends and the cluster is taken away.
read -r -d '' KEEPER <<'KEEPER' || true
set -eu
bin=$1 fsync=$2
cd /
dir=$(mktemp -d /tmp/voceguida-postgres.XXXXXX)
server=
stop() {
    trap - EXIT
    if [ -n "$server" ]; then
        kill -INT "$server" 2>/dev/null || true
        wait "$server" 2>/dev/null || true
    fi
    rm -rf "$dir"
}
trap stop EXIT
trap 'exit 1' TERM
# Ctrl-C reaches the whole group: the tests die of it, then stdin ends and the cluster is stopped in order.
trap '' INT HUP
"$bin/initdb" -D "$dir/data" -U voceguida -A trust -E UTF8 --locale=C.UTF-8 --no-sync >"$dir/log" 2>&1 || { cat "$dir/log" >&2; exit 1; }
"$bin/postgres" -D "$dir/data" -k "$dir" -c listen_addresses= -c fsync="$fsync" -c max_connections=300 \
    -c shared_buffers=64MB -c timezone=UTC </dev/null >>"$dir/log" 2>&1 &
server=$!
tries=0
until "$bin/pg_isready" -q -h "$dir" -U voceguida -d postgres; do
    tries=$((tries + 1))
    if [ "$tries" -gt 300 ] || ! kill -0 "$server" 2>/dev/null; then
        cat "$dir/log" >&2
        exit 1
    fi
    sleep 0.1
done
echo "postgres://voceguida@localhost/postgres?host=$dir"
# Nobody must have to wait for our output to end.
exec >/dev/null 2>&1
cat >/dev/null
KEEPER

serve() {
    local bin fsync=off user
    bin=$(find_binaries)
    if [[ ${1:-} == durable ]]; then fsync=on; fi
    if [[ $(id -u) -ne 0 ]]; then
        exec sh -c "$KEEPER" postgres.sh "$bin" "$fsync"
    fi
    # PostgreSQL refuses to run as root.
    user=postgres
    id "$user" >/dev/null 2>&1 || user=nobody
    exec setpriv --reuid="$user" --regid="$(id -g "$user")" --clear-groups sh -c "$KEEPER" postgres.sh "$bin" "$fsync"
}

run() {
    local url status=0 keeper
    coproc CLUSTER { serve; }
    keeper=$CLUSTER_PID
    if ! read -r url <&"${CLUSTER[0]}"; then
        echo "PostgreSQL did not start" >&2
        exit 1
    fi
    VOCEGUIDA_TEST_POSTGRES=$url "$@" || status=$?
    # Closing its stdin stops the cluster; wait until its files are gone.
    exec {CLUSTER[1]}>&-
    wait "$keeper" || true
    exit "$status"
}

case ${1:-} in
    run)
        shift
        run "$@"
        ;;
    serve)
        shift
        serve "$@"
        ;;
    *)
        sed -n '2,8s/^# \{0,1\}//p' "$0"
        exit 2
        ;;
esac
