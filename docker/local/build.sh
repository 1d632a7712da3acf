# The six programs, from cmake's `release` preset.
# shellcheck shell=bash

build() {
    local before=$SECONDS
    # A CMakeLists.txt that changed is cmake's own affair; the presets are ours.
    if [[ ! $CHECKOUT/build/release/build.ninja -nt $CHECKOUT/CMakePresets.json ]]; then
        (cd "$CHECKOUT" && long_step "configuring the build" "$LOGS/configure.log" cmake --preset release) ||
            fail "cmake refused the sources, its reason is above"
    fi
    (cd "$CHECKOUT" && long_step "building" "$LOGS/build.log" cmake --build --preset release "-j$(nproc)") ||
        fail "the build failed, its reason is above"
    say "built in $((SECONDS - before)) s"
}

program_file() {
    local file=$BIN/tillwire-$1
    [[ $1 != twctl ]] || file=$BIN/twctl
    [[ -x $file ]] || fail "$(basename "$file") is not built yet: ./dev build"
    printf '%s' "$file"
}
