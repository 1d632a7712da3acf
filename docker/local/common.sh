# Messages, the state folder and what every other file here leans on. Sourced by ../../dev; CHECKOUT is set there.
# shellcheck shell=bash disable=SC2034 # used by the other files

STATE=${TW_STATE_DIR:-$CHECKOUT/.local}
[[ $STATE == /* ]] || STATE=$PWD/$STATE
JARS=${TW_JARS_DIR:-$STATE/jars}
[[ $JARS == /* ]] || JARS=$PWD/$JARS
RUN=$STATE/run         # pidfiles and the settings of the running stack
LOGS=$STATE/logs
DATA=$STATE/data
SECRETS=$STATE/secrets
BIN=${TW_BIN_DIR:-$CHECKOUT/build/release/bin}
[[ $BIN == /* ]] || BIN=$PWD/$BIN

# A proxy is for the world outside, not for our own ports: curl and Python's clients take it from the environment.
export no_proxy=127.0.0.1,${no_proxy:-${NO_PROXY:-}}

say() { printf '[%3ds] %s\n' "$SECONDS" "$*"; }

fail() {
    printf 'dev: %s\n' "$*" >&2
    exit 1
}

state_prepare() {
    mkdir -p "$STATE" || fail "cannot write the state folder $STATE (TW_STATE_DIR names another)"
    mkdir -p "$RUN" "$LOGS" "$DATA" "$JARS"
    chmod 700 "$RUN" "$LOGS"
}

# `sudo ./dev up` leaves a folder that a later plain `./dev status` could not even read.
state_must_be_ours() {
    [[ ! -e $STATE || -O $STATE ]] || fail "$STATE belongs to $(stat -c %U "$STATE"): run ./dev as that user"
}

# One change of the stack at a time: two `./dev up` side by side would start everything twice.
state_lock() {
    state_prepare
    exec {LOCK_FD}>"$STATE/lock"
    ! flock --nonblock "$LOCK_FD" || return 0
    say "another ./dev is busy with $STATE: waiting for it"
    flock --wait 600 "$LOCK_FD" &
    STEP_PID=$! # in the background, so that a signal to us is heard
    wait "$STEP_PID" || fail "another ./dev has been busy with $STATE for ten minutes"
    STEP_PID=
}

# A signal ends the run, but never between a fork and its pidfile.
SIGNALS_WAIT=
SIGNALLED=
on_signal() {
    SIGNALLED=yes
    [[ $SIGNALS_WAIT ]] || exit 130
}
signals_wait() { SIGNALS_WAIT=yes; }
signals_come() {
    SIGNALS_WAIT=
    [[ -z $SIGNALLED ]] || exit 130
}

as_root() {
    if ((EUID == 0)); then "$@"; else sudo "$@"; fi
}

# long_step WHAT LOG COMMAND...: runs a long step with its output in a file, showing a line of it now and then.
long_step() {
    local what=$1 log=$2 ticks=0
    shift 2
    say "$what (output: $log)"
    "$@" </dev/null >"$log" 2>&1 &
    STEP_PID=$!
    while kill -0 "$STEP_PID" 2>/dev/null; do
        sleep 0.2
        ((++ticks % 50)) || say "  … $(tail -n 1 "$log" | cut -c 1-100)"
    done
    if ! wait "$STEP_PID"; then
        STEP_PID=
        tail -n 25 "$log" >&2
        return 1
    fi
    STEP_PID=
}

# On the way out of a run that was interrupted: a background job of a script does not hear Ctrl-C.
long_step_end() {
    [[ -n ${STEP_PID:-} ]] || return 0
    if ((${#HELD_OFF[@]})); then
        say "letting apt finish what it began"
        wait "$STEP_PID" || true
    else
        kill_tree "$STEP_PID"
    fi
}

kill_tree() {
    local child children=()
    { read -ra children <"/proc/$1/task/$1/children"; } 2>/dev/null || true
    kill "$1" 2>/dev/null || true
    for child in "${children[@]}"; do
        kill_tree "$child"
    done
}
