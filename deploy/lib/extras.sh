# shellcheck shell=bash
# shellcheck disable=SC2154 # variables of the files sourced before this one
#
# extras.sh -- what does not come from apt: Kafka's jars by Maven, and the tests' Python packages by pip.
#
# Both go into the user's cache, through the clients as this machine has them set up (mirrors, proxies, certificates).
# Each is prepared beside its place and becomes visible in one step, so a run that was killed leaves nothing half-made.

have_kafka() { [[ -d $(kafka_lib) ]]; }

fetch_kafka() {
    ! have_kafka || return 0
    local lib at
    lib=$(kafka_lib)
    mkdir -p "${lib%/*}"
    at=$(mktemp -d -p "${lib%/*}")
    say "fetching the jars of Apache Kafka $(kafka_version)"
    if ! persistently timeout 900 mvn -q -B -f "$local_dir/kafka/pom.xml" dependency:copy-dependencies \
        -DoutputDirectory="$at"; then
        rm -rf "$at"
        die "Maven could not fetch the jars of Kafka: see its last lines above, check the network and ~/.m2/settings.xml, and run '$0' again"
    fi
    chmod 755 "$at"
    mv -T "$at" "$lib"
}

have_python() { [[ -e $(python_env)/complete ]]; }

# A virtual environment knows its own path, so it is built in place and marked when done.
make_python() {
    ! have_python || return 0
    local at
    at=$(python_env)
    say "making the tests' Python in $at"
    rm -rf "$at"
    mkdir -p "${at%/*}"
    if ! { persistently "$(system_python)" -m venv "$at" &&
        persistently timeout 900 "$at/bin/python" -m pip install -q --disable-pip-version-check \
            --only-binary :all: -r "$checkout/tests/requirements.txt"; }; then
        rm -rf "$at"
        die "pip could not install tests/requirements.txt: see its last lines above, check the network and run '$0' again"
    fi
    : >"$at/complete"
}
