# MongoDB: `mongod` where the machine has one, else mongo-java-server on an H2 file (java/mongo/LocalMongo.java).
# shellcheck shell=bash

mongo_start() {
    if command -v mongod >/dev/null; then
        private_dir "$DATA/mongod"
        spawn mongo mongod --dbpath "$DATA/mongod" --bind_ip 127.0.0.1 --port "$(port_of mongo)" --nounixsocket
    else
        local_mongo_start
    fi
}

local_mongo_start() {
    local source=$CHECKOUT/docker/local/java/mongo/LocalMongo.java classes=$DATA/java
    java_must_work
    jars_prepare mongo
    if [[ ! $classes/LocalMongo.class -nt $source ]]; then
        "$JAVA/javac" -cp "$JARS/mongo/*" -d "$classes" "$source" >"$LOGS/javac.log" 2>&1 ||
            fail "cannot compile LocalMongo.java, see $LOGS/javac.log"
    fi
    private_dir "$DATA/mongo"
    spawn mongo "$JAVA/java" -Xmx512m -XX:+UseSerialGC -Xshare:auto -XX:+ExitOnOutOfMemoryError \
        -Dorg.slf4j.simpleLogger.defaultLogLevel=warn -Dorg.slf4j.simpleLogger.showDateTime=true \
        -Dorg.slf4j.simpleLogger.log.io.netty=error \
        -cp "$JARS/mongo/*:$classes" LocalMongo "$DATA/mongo/tillwire.mv" "$(port_of mongo)"
}

# The port opens after the store.
mongo_ready() { port_open "$(port_of mongo)"; }
mongo_stop() { halt mongo TERM 30; }
mongo_uri() { printf 'mongodb://127.0.0.1:%s/tillwire' "$(port_of mongo)"; }
