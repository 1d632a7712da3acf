# Generated secrets: made once, readable by their owner only, forgotten by `reset`. Also used by ../make-secrets.
# shellcheck shell=bash

random_hex() { od -An -v -tx1 -N "$1" /dev/urandom | tr -d ' \n'; }

# Writes standard input; the file is never readable by others, not even for a moment.
private_file() {
    (umask 077 && cat >"$1.new" && mv -f "$1.new" "$1")
}

private_dir() { (umask 077 && mkdir -p "$1"); }

jwt_algorithm() { printf '%s' "${TW_JWT_ALGORITHM:-HS256}"; }

jwt_keys_name() { [[ $(jwt_algorithm) == ES256 ]] && echo jwt_es256_keys || echo jwt_keys; }

# es256_key NAME: a block of a key file for TW_JWT_ALGORITHM=ES256.
es256_key() {
    printf 'kid: %s\n' "$1"
    openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 2>/dev/null
}

# secrets_prepare FOLDER: makes what is missing and leaves the rest as it is.
secrets_prepare() {
    local dir=$1 name
    private_dir "$dir"
    for name in id_key edge_key; do
        [[ -s $dir/$name ]] || printf '%s\n' "$(random_hex 32)" | private_file "$dir/$name"
    done
    [[ -s $dir/jwt_keys ]] || printf 'key-1:%s\n' "$(random_hex 32)" | private_file "$dir/jwt_keys"
    [[ $(jwt_algorithm) != ES256 || -s $dir/jwt_es256_keys ]] || es256_key key-1 | private_file "$dir/jwt_es256_keys"
    for name in postgres_admin_password postgres_password postgres_edge_password redis_password; do
        [[ -s $dir/$name ]] || random_hex 24 | private_file "$dir/$name"
    done
}

secret() { cat "$SECRETS/$1"; }
