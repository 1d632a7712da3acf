# Debian packages, in groups by what they are for. A machine that has all of a group is not asked for root.
# shellcheck shell=bash

JAVA_PACKAGE=openjdk-17-jdk-headless

packages_of() {
    case $1 in
        runtime) echo curl ca-certificates openssl ;;
        build)
            echo gcc libc6-dev cmake ninja-build pkg-config python3 librdkafka-dev libpq-dev libmongoc-dev libbson-dev \
                libhiredis-dev libmsgpack-dev libjwt-dev libcivetweb-dev libjansson-dev libsodium-dev libidn2-dev \
                libunistring-dev libssl-dev libzstd-dev
            ;;
        kafka) echo "$JAVA_PACKAGE" maven ;;
        postgres) echo postgresql-15 postgresql-client-15 ;;
        mongo) command -v mongod >/dev/null || echo "$JAVA_PACKAGE" maven ;;
        redis) echo redis-server redis-tools ;;
        servers) local server; for server in $(local_servers); do packages_of "$server"; done ;;
        test)
            echo git libcmocka-dev clang-14 libclang-rt-14-dev clang-format-14 clang-tidy-14 wrk python3-venv \
                chromium haproxy locales golang systemd
            ;;
        demo) echo python3-venv ;;
        bench) echo wrk python3-venv golang ;;
        *) fail "no package group called $1" ;;
    esac
}

# Major version of the Java behind a folder of programs, 0 when it has no compiler.
java_version() {
    local version
    [[ -x $1/javac ]] && version=$("$1/java" -version 2>&1) && [[ $version =~ version\ \"([0-9]+) ]] || BASH_REMATCH=(0 0)
    printf '%s' "${BASH_REMATCH[1]}"
}

# The folder of a Java that can run the broker (17 or newer, with a compiler): the machine's own, else Debian's.
java_bin() {
    local dir
    for dir in "${JAVA_HOME:-/nonexistent}/bin" "$(dirname "$(command -v java || echo /nonexistent/java)")" \
        /usr/lib/jvm/java-17-openjdk-*/bin; do
        (($(java_version "$dir") < 17)) || { printf '%s' "$dir"; return; }
    done
    return 1
}

go_works() {
    local version
    version=$(go version 2>/dev/null) && [[ $version =~ go1\.([0-9]+) ]] && ((BASH_REMATCH[1] >= 21))
}

installed() {
    case $1 in # programs that people often have from elsewhere
        "$JAVA_PACKAGE") java_bin >/dev/null && return ;;
        maven) command -v mvn >/dev/null && return ;;
        python3 | curl | git) command -v "$1" >/dev/null && return ;;
        python3-venv) python3 -c 'import ensurepip, venv' 2>/dev/null && return ;;
        golang) go_works && return ;;
    esac
    [[ $(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null) == installed ]]
}

# need GROUP...: installs what is missing of these groups.
need() {
    local package missing=()
    for package in $(for group; do packages_of "$group"; done | tr ' ' '\n' | sort -u); do
        installed "$package" || missing+=("$package")
    done
    if ((${#missing[@]})); then
        command -v apt-get >/dev/null || fail "this needs Debian 12 (apt) to install: ${missing[*]}"
        ((EUID == 0)) || command -v sudo >/dev/null || fail "root or sudo is needed once, to install: ${missing[*]}"
        install_packages "${missing[@]}"
    fi
    [[ " $* " != *" bench "* ]] || go_works ||
        fail "go 1.21 or newer is needed on the PATH for benches, Debian 12 has only $(go version 2>/dev/null || echo none)"
}

install_packages() {
    local log=$LOGS/packages.log rc=0
    apt_get update >"$log" 2>&1 || say "apt-get update failed, trying with the lists at hand (see $log)"
    no_service_starts
    long_step "installing $# packages: $*" "$log" apt_get install -y --no-install-recommends "$@" || rc=$?
    service_starts_again
    if [[ " $* " == *" redis-server "* ]] && command -v systemctl >/dev/null; then
        as_root systemctl --quiet disable redis-server || true # else the next boot would start it
    fi
    ((rc == 0)) || fail "cannot install all of: $* (apt's reason is above and in $log)"
    say "packages installed"
}

apt_get() { as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=120 "$@"; }

# The server packages would start services of their own, and PostgreSQL would make a cluster: not wanted by people who
# only try this. Both are held off for the time of the install; files that were there before stay untouched.
POLICY=/usr/sbin/policy-rc.d
CLUSTER_CONF=/etc/postgresql-common/createcluster.d/tillwire.conf
HELD_OFF=()

no_service_starts() {
    if [[ ! -e $POLICY ]]; then
        HELD_OFF+=("$POLICY")
        printf '#!/bin/sh\nexit 101\n' | as_root tee "$POLICY" >/dev/null
        as_root chmod 755 "$POLICY"
    fi
    HELD_OFF+=("$CLUSTER_CONF")
    as_root mkdir -p "${CLUSTER_CONF%/*}"
    echo 'create_main_cluster = false' | as_root tee "$CLUSTER_CONF" >/dev/null
}

service_starts_again() {
    ((${#HELD_OFF[@]})) || return 0
    as_root rm -f "${HELD_OFF[@]}"
    HELD_OFF=()
}
