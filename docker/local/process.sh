# Detached processes with a pidfile. A pidfile holds the pid and the start time of /proc, so a pid that went to another
# process since is never signalled.
# shellcheck shell=bash

# Sets REPLY to one field of /proc/PID/stat, counted as in proc(5); the program's name (field 2) may hold anything.
proc_field() {
    local stat=
    { read -rd '' stat <"/proc/$1/stat" || [[ $stat ]]; } 2>/dev/null || return 1
    read -ra stat <<<"${stat##*) }"
    REPLY=${stat[$2 - 3]}
}

proc_stat() {
    local REPLY
    proc_field "$@" && printf '%s' "$REPLY"
}

# Prints the pid of a component that runs; fails when it does not.
pid_of() {
    local pid started
    { read -r pid started <"$RUN/$1.pid"; } 2>/dev/null || return 1
    [[ $(proc_stat "$pid" 22) == "$started" && $(proc_stat "$pid" 3) != [ZX] ]] || return 1
    printf '%s' "$pid"
}

running() { pid_of "$1" >/dev/null; }

paused() { [[ $(proc_stat "$(pid_of "$1")" 3) == T ]]; }

uptime_s() {
    local up
    read -r up _ </proc/uptime
    echo $((${up%.*} - $(proc_stat "$(pid_of "$1")" 22) / $(getconf CLK_TCK)))
}

# Names with a pidfile, also those that died.
known() {
    local file
    for file in "$RUN"/*.pid; do
        [[ ! -e $file ]] || basename "$file" .pid
    done
}

anything_running() {
    local name
    for name in $(known); do
        ! running "$name" || return 0
    done
    return 1
}

# Settings of this script or of its users, which a program would not know.
NOT_FOR_PROGRAMS=(TW_STATE_DIR TW_JARS_DIR TW_BIN_DIR TW_BASE_PORT TW_EDGE_URL TW_ADMIN_URL TW_MEMBER_ADMIN_URL
    TW_PRODUCT_ADMIN_URL TW_CART_ADMIN_URL)

# spawn NAME COMMAND...: starts it detached; SPAWN_ENV of the caller holds NAME=value pairs for it (an `env` in front
# would show passwords in the process list). setsid keeps the pid, as a background job of a script leads no group.
spawn() {
    local name=$1 pid
    shift
    rm -f "$RUN/$name.ready"
    touch "$LOGS/$name.log"
    stat -c %s "$LOGS/$name.log" >"$RUN/$name.log-start"
    signals_wait
    (
        close_inherited
        [[ -z ${SPAWN_ENV:-} ]] || export "${SPAWN_ENV[@]}"
        unset "${NOT_FOR_PROGRAMS[@]}"
        cd /
        exec setsid "$@"
    ) </dev/null >>"$LOGS/$name.log" 2>&1 &
    pid=$!
    REPLY=0
    proc_field "$pid" 22 || true # no subshell: Ctrl-C could end it, and then nobody would know this process
    printf '%s %s\n' "$pid" "$REPLY" >"$RUN/$name.pid"
    STARTED+=("$name")
    signals_come
}

# What the caller has open besides the three standard ones (a pipe of its own, our lock) must not live on in a server.
close_inherited() {
    local fd
    for fd in /proc/"$BASHPID"/fd/*; do
        fd=${fd##*/}
        ((fd < 3)) || exec {fd}>&-
    done
}

# What a component logged since it was last started.
log_of_this_run() { tail -c "+$(($(<"$RUN/$1.log-start") + 1))" "$LOGS/$1.log"; }

# await NAME SECONDS CHECK...: polls until CHECK is true; fails when the process dies or time is up.
await() {
    local name=$1 deadline=$((SECONDS + $2))
    shift 2
    until "$@"; do
        running "$name" || died_because "$name" "$name stopped while starting"
        ((SECONDS < deadline)) || died_because "$name" "$name runs but is not ready after a long wait"
        sleep 0.1
    done
}

died_because() {
    log_of_this_run "$1" | tail -n 8 | sed "s/^/  $1: /" >&2
    fail "$2; its log is $LOGS/$1.log"
}

# Signals a component and its direct children (PostgreSQL's backends): a server is killed or paused as a whole.
signal() {
    local pid children=()
    pid=$(pid_of "$1") || return 0
    read -ra children <"/proc/$pid/task/$pid/children" || true
    kill "-$2" "$pid" "${children[@]}" 2>/dev/null || true
}

# halt NAME SIGNAL SECONDS: asks with SIGNAL; SIGKILL only for one that does not listen.
halt() {
    local name=$1 pid deadline=$((SECONDS + $3))
    if pid=$(pid_of "$name"); then
        ! paused "$name" || signal "$name" CONT
        kill "-$2" "$pid" 2>/dev/null || true
        while running "$name" && ((SECONDS < deadline)); do sleep 0.05; done
        if running "$name"; then
            say "$name did not stop within $3 s: SIGKILL to pid $pid"
            kill_now "$name"
        fi
        say "$name stopped"
    fi
    rm -f "$RUN/$name.pid"
}

kill_now() {
    signal "$1" KILL
    while running "$1"; do sleep 0.02; done
}
