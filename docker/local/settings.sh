# The few settings a person gives, remembered while something runs, so that a plain `./dev env` in another shell
# speaks of the same stack that `TW_BASE_PORT=9000 ./dev up` started.
# shellcheck shell=bash

REMEMBERED=(TW_BASE_PORT TW_KAFKA TW_POSTGRES_URI TW_MONGO_URI TW_REDIS_URI TW_JWT_ALGORITHM)
declare -A URI_SETTING=([kafka]=TW_KAFKA [postgres]=TW_POSTGRES_URI [mongo]=TW_MONGO_URI [redis]=TW_REDIS_URI)

STACK_RUNS=      # then RUNS_WITH holds what it was started with
declare -A RUNS_WITH=()

settings_load() {
    local name value
    if [[ -f $RUN/settings ]] && anything_running; then
        STACK_RUNS=yes
        while IFS='=' read -r name value; do
            [[ $name != TW_BASE_PORT || ${TW_BASE_PORT:-$value} == "$value" ]] ||
                fail "this stack already runs with TW_BASE_PORT=$value: ./dev down first, or leave TW_BASE_PORT unset"
            RUNS_WITH[$name]=$value
            [[ -n ${!name:-} ]] || declare -g "$name=$value"
        done <"$RUN/settings"
    fi
    : "${TW_BASE_PORT:=8080}"
    [[ $TW_BASE_PORT =~ ^([1-9][0-9]{3}|[1-5][0-9]{4}|60000)$ && $TW_BASE_PORT -ge 1024 ]] ||
        fail "TW_BASE_PORT must be a number from 1024 to 60000, not '$TW_BASE_PORT'"
    [[ $(jwt_algorithm) =~ ^(HS256|ES256)$ ]] ||
        fail "TW_JWT_ALGORITHM must be HS256 or ES256, not '$TW_JWT_ALGORITHM'"
    forget_own_uris
}

# `eval "$(./dev env)"` puts our own servers' addresses into the shell; coming back here they must not look like
# servers somebody gave us.
forget_own_uris() {
    local server setting
    for server in "${!URI_SETTING[@]}"; do
        setting=${URI_SETTING[$server]}
        [[ ! ${!setting:-} =~ (^|[/@])127\.0\.0\.1:$(port_of "$server")(/|$) ]] || unset "$setting"
    done
}

# A program that runs keeps the servers it was started with: another one given now would be used by half of the stack.
settings_must_agree() {
    local name
    [[ $STACK_RUNS ]] || return 0
    for name in "${URI_SETTING[@]}"; do
        [[ ${!name:-} == "${RUNS_WITH[$name]:-}" ]] ||
            fail "this stack runs with another $name, given before or its own: ./dev down first, or leave $name unset"
    done
}

settings_save() {
    local name
    for name in "${REMEMBERED[@]}"; do
        [[ -z ${!name:-} ]] || printf '%s=%s\n' "$name" "${!name}"
    done | private_file "$RUN/settings"
}

# A server is given when its setting is: then it is neither started nor stopped here.
given() {
    local setting=${URI_SETTING[$1]:-}
    [[ -n $setting && -n ${!setting:-} ]]
}

local_servers() {
    local server
    for server in kafka postgres mongo redis; do
        given "$server" || printf '%s\n' "$server"
    done
}
