# Who listens where. TW_BASE_PORT moves everything; instance n of a program sits 20·(n-1) above the first.
# shellcheck shell=bash

declare -A PORT_OFFSET=(
    [edge]=0 [edge_admin]=1 [member]=2 [product]=3 [cart]=4 # a worker's only port is its admin port
    [kafka]=10 [kafka_controller]=11 [postgres]=12 [mongo]=13 [redis]=14
    [kafka_proxy]=15 [kafka_proxied]=16 # see kafka.sh; on the first nothing of ours listens
)

kind_of() { # member2 -> member
    local kind=${1%%[0-9]*}
    printf '%s' "$kind"
}

instance_of() { # member2 -> 2, member -> 1
    local number=${1##*[a-z_]}
    printf '%s' "${number:-1}"
}

port_of() {
    local offset=${PORT_OFFSET[$(kind_of "$1")]}
    printf '%s' $((TW_BASE_PORT + offset + 20 * ($(instance_of "$1") - 1)))
}

admin_port_of() {
    case $1 in
        edge*) port_of "edge_admin${1#edge}" ;;
        *) port_of "$1" ;;
    esac
}

# All ports a component listens on.
ports_of() {
    port_of "$1"
    case $1 in
        edge*) printf ' ' && admin_port_of "$1" ;;
        kafka) printf ' %s %s' "$(port_of kafka_controller)" "$(port_of kafka_proxied)" ;;
    esac
}

port_open() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

port_must_be_free() { # port_must_be_free PORT NAME
    ! port_open "$1" || fail "port $1, meant for $2, is taken by another program: stop it, or set TW_BASE_PORT (now $TW_BASE_PORT)"
}
