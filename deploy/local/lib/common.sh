# shellcheck shell=bash
#
# common.sh -- what deploy/packages and deploy/local/stack both know: how to talk, and where things lie.
#
# Sourced, never run. Large things that are not part of the source (Kafka's jars, the tests' Python, packages of
# another suite) live in one cache of the user, outside the tree, so that every checkout shares them. Versions are read
# from the files that pin them (pom.xml, requirements.txt), so nothing here has to follow a change of version.

local_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
checkout=$(cd "$local_dir/../.." && pwd -P)
cache="${XDG_CACHE_HOME:-${HOME:?HOME is not set}/.cache}/quern"
program=${0##*/}

say() { printf '%s: %s\n' "$program" "$*" >&2; }

die() {
    say "$*"
    exit 1
}

# The version of Kafka that pom.xml pins.
kafka_version() { sed -n 's|.*<kafka\.version>\(.*\)</kafka\.version>.*|\1|p' "$local_dir/kafka/pom.xml"; }

# The folder of Kafka's jars. It appears by a rename, so it is either whole or absent.
kafka_lib() { printf '%s/kafka-%s/lib\n' "$cache" "$(kafka_version)"; }

# The system's Python, not one that an interpreter manager put before it: the packaged venv module belongs to this one.
system_python() { readlink -f /usr/bin/python3; }

# The folder of the tests' Python; its name follows the pinned packages and the interpreter, so a change of either
# makes a new one. The file 'complete' in it is written last.
python_env() {
    local pins
    pins=$(sha256sum "$checkout/tests/requirements.txt")
    printf '%s/%s-%s\n' "$cache" "$(basename "$(system_python)")" "${pins:0:12}"
}

# The newest major version of PostgreSQL whose server is installed; with an argument, only versions that have that file
# below /usr/share/postgresql/NN. Prints nothing when there is none. Servers are never looked for on PATH.
postgres_major() {
    local initdb major newest=
    for initdb in /usr/lib/postgresql/*/bin/initdb; do
        [[ -x $initdb ]] || continue
        major=${initdb#/usr/lib/postgresql/}
        major=${major%%/*}
        [[ -z ${1-} || -e /usr/share/postgresql/$major/$1 ]] || continue
        [[ -n $newest && $newest -gt $major ]] || newest=$major
    done
    printf '%s\n' "$newest"
}
