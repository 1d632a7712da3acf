# Generated secrets: made once, readable by their owner only, forgotten by `reset`. Also used by ../make-secrets.
# shellcheck shell=bash

random_hex() { od -An -v -tx1 -N "$1" /dev/urandom | tr -d ' \n'; }

# Writes standard input; the file is never readable by others, not even for a moment.
private_file() {
    (umask 077 && cat >"$1.new" && mv -f "$1.new" "$1")
}

private_dir() { (umask 077 && mkdir -p "$1"); }

# secrets_prepare FOLDER: makes what is missing and leaves the rest as it is.
secrets_prepare() {
    local dir=$1 name
    private_dir "$dir"
    for name in id_key edge_key; do
        [[ -s $dir/$name ]] || printf '%s\n' "$(random_hex 32)" | private_file "$dir/$name"
    done
    [[ -s $dir/jwt_keys ]] || printf 'key-1:%s\n' "$(random_hex 32)" | private_file "$dir/jwt_keys"
    for name in postgres_admin_password postgres_password postgres_edge_password redis_password; do
        [[ -s $dir/$name ]] || random_hex 24 | private_file "$dir/$name"
    done
}

secret() { cat "$SECRETS/$1"; }
