# PostgreSQL 15: a cluster of our own on TCP loopback, with passwords.
# shellcheck shell=bash

PG_BIN=/usr/lib/postgresql/15/bin
PG_DATA=$DATA/postgres
PG_MADE=$DATA/postgres-made # stands once roles and database are there; what a run left half made is made again
AS_POSTGRES=()              # command prefix

postgres_start() {
    [[ -f $PG_MADE ]] || postgres_create
    postgres_choose_user
    postgres_forget_dead
    postgres_settings | "${AS_POSTGRES[@]}" tee "$PG_DATA/postgresql.conf" >/dev/null
    spawn postgres "${AS_POSTGRES[@]}" "$PG_BIN/postgres" -D "$PG_DATA"
}

# PostgreSQL refuses root. The user `postgres` runs it where it can reach the folder; where it cannot (a checkout under
# /root), root itself does, seen as `postgres` inside a user namespace, and the files stay root's.
postgres_choose_user() {
    if ((EUID != 0)); then
        AS_POSTGRES=()
    elif [[ $(stat -c %U "$PG_DATA") == postgres ]]; then
        AS_POSTGRES=(setpriv --reuid=postgres --regid=postgres --init-groups)
    else
        AS_POSTGRES=(unshare --user --map-user=postgres --map-group=postgres)
        "${AS_POSTGRES[@]}" true 2>/dev/null ||
            fail "PostgreSQL does not run as root and this machine allows no user namespace: put the checkout where the user postgres can read it"
    fi
}

postgres_create() {
    local password=$DATA/postgres-password
    rm -rf "$PG_DATA"
    mkdir -m 700 "$PG_DATA"
    private_file "$password" <"$SECRETS/postgres_admin_password"
    if ((EUID == 0)) && setpriv --reuid=postgres --regid=postgres --init-groups test -x "$DATA"; then
        chown postgres:postgres "$PG_DATA" "$password"
    fi
    postgres_choose_user
    (cd / && "${AS_POSTGRES[@]}" "$PG_BIN/initdb" -D "$PG_DATA" -U postgres --pwfile="$password" --auth=scram-sha-256 \
        --encoding=UTF8 --locale=C.UTF-8 --data-checksums --no-instructions) >"$LOGS/postgres-create.log" 2>&1 ||
        fail "cannot create the PostgreSQL cluster: $(tail -n 1 "$LOGS/postgres-create.log") (all of it in $LOGS/postgres-create.log)"
    rm -f "$password"
}

# A killed server that nobody has waited for yet (containers often have no init that would) still counts as alive for
# PostgreSQL's lock file. It was killed together with its backends, so the file is all that is left of it.
postgres_forget_dead() {
    local pid
    { read -r pid <"$PG_DATA/postmaster.pid"; } 2>/dev/null || return 0
    [[ $(proc_stat "$pid" 3) != Z ]] || rm -f "$PG_DATA/postmaster.pid"
}

postgres_settings() {
    cat "$CHECKOUT/docker/postgres/postgresql.conf" - <<END
listen_addresses = '127.0.0.1'
port = $(port_of postgres)
unix_socket_directories = ''
END
}

# An earlier run was killed before roles and database were made: postgres_start makes the cluster anew.
postgres_forget_half() {
    [[ -f $PG_MADE ]] || given postgres || ! running postgres || stop postgres
}

postgres_ready() { "$PG_BIN/pg_isready" -q -h 127.0.0.1 -p "$(port_of postgres)"; }

postgres_finish() {
    [[ ! -f $PG_MADE ]] || return 0
    PGPASSWORD=$(secret postgres_admin_password) TW_WORKER_PASSWORD=$(secret postgres_password) \
        TW_EDGE_PASSWORD=$(secret postgres_edge_password) \
        psql -X -q -h 127.0.0.1 -p "$(port_of postgres)" -U postgres -d postgres -f "$CHECKOUT/docker/postgres/roles.sql" \
        >"$LOGS/postgres-roles.log" 2>&1 || fail "cannot make the database: $(tail -n 1 "$LOGS/postgres-roles.log")"
    touch "$PG_MADE"
}

# INT is PostgreSQL's fast shutdown; TERM would wait for every client to leave.
postgres_stop() { halt postgres INT 30; }

postgres_uri() { # postgres_uri ROLE PASSWORD-NAME
    printf 'postgresql://%s:%s@127.0.0.1:%s/tillwire' "$1" "$(secret "$2")" "$(port_of postgres)"
}
