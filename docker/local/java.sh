# Jars from Maven: one folder per pom, filled once, shared by every stack that sets the same TW_JARS_DIR.
# shellcheck shell=bash disable=SC2034 # JAVA is for the other files

COPY_DEPENDENCIES=org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies

# jars_prepare NAME: brings the jars that java/NAME/pom.xml lists, when the pom is new or changed.
jars_prepare() {
    local name=$1 pom=$CHECKOUT/docker/local/java/$1/pom.xml
    ! cmp -s "$pom" "$JARS/$name/pom.xml" || return 0
    (
        flock 9 # another stack may be fetching the same
        ! cmp -s "$pom" "$JARS/$name/pom.xml" || exit 0
        rm -rf "$JARS/$name.new"
        # Maven's own cache would stay in the home folder; here it is dropped once the jars are copied out of it.
        long_step "fetching the jars of $name" "$LOGS/jars-$name.log" \
            mvn -B -ntp -f "$pom" -Dmaven.repo.local="$JARS/m2" "$COPY_DEPENDENCIES" \
            -DincludeScope=runtime -DoutputDirectory="$JARS/$name.new" ||
            fail "cannot fetch the jars of $name from Maven (its reason is above)"
        cp "$pom" "$JARS/$name.new/"
        rm -rf "${JARS:?}/$name" "$JARS/m2"
        mv "$JARS/$name.new" "$JARS/$name"
    ) 9>"$JARS/lock"
}

java_must_work() {
    JAVA=$(java_bin) || fail "no Java found: Kafka needs a JDK 17 or newer (java and javac on the PATH, or JAVA_HOME)"
}
