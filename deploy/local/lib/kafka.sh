# shellcheck shell=bash
# shellcheck disable=SC2154 # variables of the files sourced before this one
#
# kafka.sh -- Apache Kafka as one KRaft node, broker and controller in one process.
#
# The jars come from deploy/packages. The quorum is static (controller.quorum.voters), because a dynamic one writes the
# controller's port into its data, and ours may change from one start to the next.
#
# A client is told the broker's address by the broker itself, so a proxy in front of it works only when the broker names
# the proxy. With QUERN_KAFKA_PROXY_PORT there is a second listener, for a proxy that listens at that port of this
# machine; the proxy finds it at KAFKA_PROXIED_PORT of .run/env.

kafka_home() { printf '%s/kafka\n' "$run_dir"; }
kafka_comm() { echo java; }
kafka_signal() { echo TERM; }

kafka_ports() {
    kafka_port=''
    controller_port=''
    kafka_proxied_port=''
    # shellcheck disable=SC1091
    [[ ! -r $run_dir/kafka/ports ]] || . "$run_dir/kafka/ports"
}

kafka_choose() {
    mkdir -p "$run_dir/kafka"
    kafka_ports
    kafka_port=$(choose_port "$kafka_port" 19000) || return
    controller_port=$(choose_port "$controller_port" 20000) || return
    [[ -z ${QUERN_KAFKA_PROXY_PORT-} ]] || kafka_proxied_port=$(choose_port "$kafka_proxied_port" 21000) || return
    printf 'kafka_port=%s\ncontroller_port=%s\nkafka_proxied_port=%s\n' "$kafka_port" "$controller_port" \
        "$kafka_proxied_port" >"$run_dir/kafka/ports"
}

# The first Java that is new enough for this Kafka; JAVA_HOME may well be there for something older.
kafka_java() {
    local java version
    for java in "${JAVA_HOME:+$JAVA_HOME/bin/java}" "$(command -v java)" /usr/bin/java; do
        [[ -n $java && -x $java ]] || continue
        version=$("$java" -version 2>&1 | sed -n 's/.* version "\([0-9]*\).*/\1/p')
        [[ -n $version && $version -ge 17 ]] && printf '%s\n' "$java" && return
    done
    die "no Java 17 or newer is here: run deploy/packages stack"
}

# One node, so everything has one replica. Few partitions of internal topics and a small cleaner buffer: quick to
# start, and the heap stays for records. A killed broker's registration would block its successor for
# broker.session.timeout.ms; the groups' lower bound on session time-outs lets tests notice deaths within seconds.
kafka_properties() {
    local listen='' advertise='' map=''
    if [[ -n ${QUERN_KAFKA_PROXY_PORT-} ]]; then
        listen=,PROXIED://127.0.0.1:$kafka_proxied_port
        advertise=,PROXIED://127.0.0.1:$QUERN_KAFKA_PROXY_PORT
        map=,PROXIED:PLAINTEXT
    fi
    cat <<END
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$controller_port
listeners=CLIENT://127.0.0.1:$kafka_port,CONTROLLER://127.0.0.1:$controller_port$listen
advertised.listeners=CLIENT://127.0.0.1:$kafka_port$advertise
listener.security.protocol.map=CLIENT:PLAINTEXT,CONTROLLER:PLAINTEXT$map
inter.broker.listener.name=CLIENT
controller.listener.names=CONTROLLER
log.dirs=$run_dir/kafka/data

auto.create.topics.enable=false
num.partitions=1
default.replication.factor=1
min.insync.replicas=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=4

message.max.bytes=33554432
replica.fetch.max.bytes=33554432

group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
group.consumer.min.session.timeout.ms=1000
group.consumer.min.heartbeat.interval.ms=500

broker.heartbeat.interval.ms=500
broker.session.timeout.ms=3000
num.network.threads=2
num.io.threads=4
log.cleaner.dedupe.buffer.size=16777216
END
}

kafka_prepare() {
    local lib java id
    lib=$(kafka_lib)
    [[ -d $lib ]] || die "the jars of Kafka are not in $lib: run deploy/packages stack"
    java=$(kafka_java) || return
    kafka_properties >"$run_dir/kafka/server.properties"
    [[ ! -e $run_dir/kafka/formatted ]] || return 0
    # The mark is written last: a format that was cut off starts again from nothing.
    rm -rf "$run_dir/kafka/data"
    id=q$(head -c 16 /dev/urandom | base64 | tr '+/' '-_' | cut -c 2-22)
    (cd / && timeout 60 "$java" -Xmx128m -XX:TieredStopAtLevel=1 -XX:+UseSerialGC \
        -Dorg.slf4j.simpleLogger.defaultLogLevel=warn -cp "$lib/*" kafka.tools.StorageTool \
        format -t "$id" -c "$run_dir/kafka/server.properties") >"$run_dir/kafka.log" 2>&1 || {
        tail -n 20 "$run_dir/kafka.log" >&2
        die "Kafka's storage could not be formatted in $run_dir/kafka/data: see the lines above"
    }
    : >"$run_dir/kafka/formatted"
}

kafka_launch() {
    local log=-Dorg.slf4j.simpleLogger
    detached "$run_dir/kafka" "$run_dir/kafka.log" "$(kafka_java)" \
        -Xms256m -Xmx512m -XX:+UseG1GC -XX:MaxGCPauseMillis=20 -XX:+ExitOnOutOfMemoryError -Djava.awt.headless=true \
        $log.defaultLogLevel=info $log.showDateTime=true "$log.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSS" \
        $log.log.org.apache.kafka.common.config=warn $log.log.kafka.server.KafkaConfig=warn \
        -cp "$(kafka_lib)/*" kafka.Kafka "$run_dir/kafka/server.properties"
}

# Asks for the versions that the broker speaks (ApiVersions, version 0, in bytes) and wants an answer: connecting is not
# enough, as the kernel accepts connections for a broker that hangs, too. The broker answers once it is unfenced.
kafka_ready() {
    # shellcheck disable=SC2016 # expanded by the inner shell
    timeout 2 bash -c 'exec 3<>"/dev/tcp/127.0.0.1/$1" &&
        printf "\0\0\0\x0a\0\x12\0\0\0\0\0\1\xff\xff" >&3 && (($(head -c 8 <&3 | wc -c) == 8))' \
        kafka_ready "$kafka_port" 2>/dev/null
}
