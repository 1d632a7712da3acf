# The edge and the workers, and the environment they and their users get.
# shellcheck shell=bash disable=SC2034 # used by the other files

PROGRAMS=(member product cart edge)

# What a person, a test or twctl needs to talk to the stack, as NAME=value lines.
environment() {
    cat <<END
TW_EDGE_URL=http://127.0.0.1:$(port_of edge)
TW_ADMIN_URL=http://127.0.0.1:$(port_of edge_admin)
TW_MEMBER_ADMIN_URL=http://127.0.0.1:$(port_of member)
TW_PRODUCT_ADMIN_URL=http://127.0.0.1:$(port_of product)
TW_CART_ADMIN_URL=http://127.0.0.1:$(port_of cart)
END
    store_environment
}

# What every program gets; the worker's view of PostgreSQL.
store_environment() {
    cat <<END
TW_KAFKA=${TW_KAFKA:-127.0.0.1:$(port_of kafka)}
TW_POSTGRES_URI=${TW_POSTGRES_URI:-$(postgres_uri tillwire postgres_password)}
TW_MONGO_URI=${TW_MONGO_URI:-$(mongo_uri)}
TW_REDIS_URI=${TW_REDIS_URI:-$(redis_uri)}
TW_ID_KEY_FILE=$SECRETS/id_key
TW_EDGE_KEY_FILE=$SECRETS/edge_key
TW_JWT_ALGORITHM=$(jwt_algorithm)
TW_JWT_KEYS_FILE=$SECRETS/$(jwt_keys_name)
END
}

# Everything of NAME's process that is not a person's own TW_ setting (those pass through: log level, failpoints …).
program_environment() {
    store_environment
    printf 'TW_ADMIN_LISTEN=127.0.0.1:%s\n' "$(admin_port_of "$1")"
    printf 'TW_LOG_LEVEL=%s\n' "${TW_LOG_LEVEL:-info}"
    if [[ $1 == edge* ]]; then
        printf 'TW_LISTEN=127.0.0.1:%s\n' "$(port_of "$1")"
        printf 'TW_ACCESS_LOG=%s\n' "${TW_ACCESS_LOG:-off}" # a benchmark would fill the disk
        printf 'TW_RATE_LIMITS=%s\n' "${TW_RATE_LIMITS:-off}"
        given postgres || printf 'TW_POSTGRES_URI=%s\n' "$(postgres_uri tillwire_edge postgres_edge_password)"
    else
        printf 'TW_INSTANCE_ID=%s\n' "$1" # after a crash it gets its partitions back without waiting for the time-out
    fi
}

program_start() {
    local name=$1 file SPAWN_ENV
    file=$(program_file "$(kind_of "$name")")
    mapfile -t SPAWN_ENV < <(program_environment "$name")
    spawn "$name" "$file"
}

program_ready() { curl -fsS -o /dev/null --max-time 2 "http://127.0.0.1:$(admin_port_of "$1")/readyz" 2>/dev/null; }
program_stop() { halt "$1" TERM 20; }

# The linker puts a new file in the old one's place, so the running one shows as deleted.
program_outdated() { [[ $(readlink "/proc/$(pid_of "$1")/exe") == *' (deleted)' ]]; }

twctl() {
    local file pairs
    file=$(program_file twctl)
    mapfile -t pairs < <(store_environment)
    (
        export "${pairs[@]}"
        unset "${NOT_FOR_PROGRAMS[@]}"
        exec "$file" "$@"
    )
}

apply_schemas() {
    local what words
    for what in schema topics; do
        words=$(twctl "$what" apply 2>&1 >"$LOGS/twctl.log") || fail "twctl $what apply: $words"
        say "$what applied"
    done
}
