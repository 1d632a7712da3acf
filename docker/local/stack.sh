# Components as one thing: starting some in order, waiting for them, undoing what a failed run began.
# shellcheck shell=bash

STARTED=()       # what this run spawned, oldest first
START_TIMEOUT_S=60

is_server() { [[ $1 == @(kafka|postgres|mongo|redis) ]]; }

name_must_be_known() {
    [[ ${1:-} =~ ^(kafka|postgres|mongo|redis|(member|product|cart|edge)([2-9]|1[0-9])?)$ ]] ||
        fail "no component called '${1:-}': kafka postgres mongo redis member product cart edge, or a second member2, cart2 …"
}

# start NAME...: all are spawned first and waited for afterwards, so servers come up side by side. What runs already is
# waited for, too: an earlier run may have been killed before it was ready.
start() {
    local name
    for name; do
        [[ $name != postgres ]] || postgres_forget_half
        if given "$name"; then
            say "$name: the given one is used"
        elif ! running "$name"; then
            start_one "$name"
        elif paused "$name"; then
            signal "$name" CONT
            say "$name was paused and goes on"
        else
            say "$name runs already"
        fi
    done
    for name; do
        given "$name" || await_ready "$name"
        [[ " ${STARTED[*]} " != *" $name "* ]] || say "$name ready on $(port_of "$name")"
    done
}

await_ready() {
    if is_server "$1"; then
        await "$1" "$START_TIMEOUT_S" "${1}_ready"
        [[ $1 != postgres ]] || postgres_finish
    else
        await "$1" "$START_TIMEOUT_S" program_ready "$1"
    fi
}

start_one() {
    local port
    for port in $(ports_of "$1"); do
        port_must_be_free "$port" "$1"
    done
    if is_server "$1"; then "${1}_start"; else program_start "$1"; fi
}

stop() {
    if is_server "$1"; then "${1}_stop"; else program_stop "$1"; fi
}

# Everything that may run, in the order it has to stop: edges, workers, stores, the broker last.
stop_order() {
    local kind name
    for kind in edge cart product member redis mongo postgres kafka; do
        for name in $(known); do
            [[ $(kind_of "$name") != "$kind" ]] || printf '%s\n' "$name"
        done
    done
}

# On the way out of a run that failed.
undo() {
    local i
    ((${#STARTED[@]})) || return 0
    say "stopping what this run started"
    for ((i = ${#STARTED[@]} - 1; i >= 0; i--)); do
        stop "${STARTED[i]}"
    done
    anything_running || rm -f "$RUN/settings"
}

# Ports are looked at before minutes of building, not after.
ports_must_be_free() {
    local name port
    for name in $(local_servers) "${PROGRAMS[@]}"; do
        running "$name" && continue
        for port in $(ports_of "$name"); do
            port_must_be_free "$port" "$name"
        done
    done
}

status_table() {
    local name
    printf '%-10s %8s %6s  %-8s %s\n' NAME PID PORT STATE UPTIME
    for name in kafka postgres mongo redis "${PROGRAMS[@]}" $(known | grep '[0-9]$' || true); do
        status_row "$name"
    done
}

status_row() {
    local name=$1 pid=- port state=stopped uptime=-
    port=$(port_of "$name")
    if given "$name"; then
        state=given port=-
    elif pid=$(pid_of "$name"); then
        state=running
        ! paused "$name" || state=paused
        uptime=$(uptime_s "$name")s
    elif [[ -e $RUN/$name.pid ]]; then
        state=died
    fi
    printf '%-10s %8s %6s  %-8s %s\n' "$name" "${pid:--}" "$port" "$state" "$uptime"
}
