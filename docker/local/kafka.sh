# Apache Kafka, one node, KRaft.
# shellcheck shell=bash

kafka_start() {
    local conf=$DATA/kafka.properties heap=${TW_KAFKA_HEAP:-640m}
    java_must_work
    jars_prepare kafka
    private_dir "$DATA/kafka"
    kafka_settings >"$conf"
    if [[ ! -f $DATA/kafka/meta.properties ]]; then
        "$JAVA/java" -XX:TieredStopAtLevel=1 -cp "$JARS/kafka/*" kafka.tools.StorageTool format \
            --config "$conf" --cluster-id "$(kafka_cluster_id)" >"$LOGS/kafka-format.log" 2>&1 ||
            fail "cannot prepare Kafka's folder: $(tail -n 1 "$LOGS/kafka-format.log")"
    fi
    # What a broker allocates dies young: with half of the heap for it, it stops half as often (20 ms each at 1,000
    # commands a second), and its p99 is no longer that of a collection.
    # SerialGC: on two cores 1.5 to 2 times G1's produce rate and half its memory (300-byte records, acks=all).
    spawn kafka "$JAVA/java" -server "-Xms$heap" "-Xmx$heap" -XX:NewRatio=1 -XX:+UseSerialGC -Xshare:auto -XX:+ExitOnOutOfMemoryError \
        -Djava.awt.headless=true "-Dlog4j2.configurationFile=$CHECKOUT/docker/kafka/log4j2.properties" \
        -cp "$JARS/kafka/*" kafka.Kafka "$conf"
}

# A broker tells its clients where it is, so a proxy in front of it has to be told of: clients that come in at kafka_proxied
# are sent to kafka_proxy, where tests put one.
kafka_settings() {
    cat "$CHECKOUT/docker/kafka/server.properties" - <<END
listeners=CLIENT://127.0.0.1:$(port_of kafka),PROXIED://127.0.0.1:$(port_of kafka_proxied),CONTROLLER://127.0.0.1:$(port_of kafka_controller)
advertised.listeners=CLIENT://127.0.0.1:$(port_of kafka),PROXIED://127.0.0.1:$(port_of kafka_proxy)
listener.security.protocol.map=CLIENT:PLAINTEXT,PROXIED:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=CLIENT
controller.quorum.voters=1@127.0.0.1:$(port_of kafka_controller)
log.dirs=$DATA/kafka
END
}

# Kafka wants 16 bytes in URL-safe base64.
kafka_cluster_id() { head -c 16 /dev/urandom | base64 | tr '+/' 'AB' | tr -d '='; }

# The port opens before the broker serves, so its own word counts. No pipe into `grep -q`: pipefail would see SIGPIPE.
# Told once, remembered: people empty logs.
kafka_ready() {
    [[ -e $RUN/kafka.ready ]] || { [[ $(log_of_this_run kafka) == *"Kafka Server started"* ]] && touch "$RUN/kafka.ready"; }
}
kafka_stop() { halt kafka TERM 30; }
