# shellcheck shell=bash
# shellcheck disable=SC2154 # variables of the files sourced before this one
#
# postgres.sh -- PostgreSQL with pgvector: a cluster of our own, by the binaries' full path, never through PATH.
#
# PostgreSQL refuses to run as root, and a checkout in root's home is closed to others; so root's cluster lies in
# /var/lib/quern-local and runs as 'postgres'. Anybody else's lies in the run folder and runs as its owner.
# It listens on loopback only and has no Unix socket (the path of one in a deep checkout would be too long for the
# kernel); everybody has to show the password, which is random and kept in a file that only its owner reads.

if ((EUID == 0)); then
    postgres_base=/var/lib/quern-local/$(sha256sum <<<"$run_dir" | cut -c 1-16)
    postgres_user=postgres
    getent passwd postgres >/dev/null || postgres_user=nobody
    postgres_as=(setpriv "--reuid=$postgres_user" "--regid=$(id -g "$postgres_user")" --init-groups --)
else
    postgres_base=$run_dir/postgres
    postgres_as=(env)
fi

postgres_home() { printf '%s/data\n' "$postgres_base"; }
postgres_comm() { echo postgres; }
postgres_signal() { echo INT; } # a fast shutdown; TERM would wait for clients to leave

# The server's children have its folder and name, and outlive it for a moment when it is killed. The server is the one
# that was started with -D; children show what they are doing instead.
postgres_is_main() { tr '\0' ' ' <"/proc/$1/cmdline" 2>/dev/null | grep -q -- ' -D '; }

postgres_ports() {
    postgres_port=''
    # shellcheck disable=SC1091
    [[ ! -r $run_dir/postgres/ports ]] || . "$run_dir/postgres/ports"
}

postgres_choose() {
    mkdir -p "$run_dir/postgres"
    postgres_ports
    postgres_port=$(choose_port "$postgres_port" 25000) || return
    printf 'postgres_port=%s\n' "$postgres_port" >"$run_dir/postgres/ports"
}

# The binaries that fit the data, or the newest that have pgvector when there is no data yet.
postgres_bin() {
    local major
    if ! major=$(cat "$postgres_base/data/PG_VERSION" 2>/dev/null); then
        major=$(postgres_major extension/vector.control)
        [[ -n $major ]] || die "there is no PostgreSQL with pgvector below /usr/lib/postgresql: run deploy/packages stack"
    fi
    [[ -x /usr/lib/postgresql/$major/bin/postgres ]] ||
        die "the data was made by PostgreSQL $major, which is not installed any more: install it, or run '$0 reset'"
    printf '/usr/lib/postgresql/%s/bin\n' "$major"
}

# Runs a program of PostgreSQL as the cluster's owner, in a folder that it may enter and with nothing of the caller's
# environment: PGDATA and its like would lead it to another server.
postgres_run() {
    (cd / && "${postgres_as[@]}" env -i PATH="$PATH" LANG=C.UTF-8 TZ=UTC "$@")
}

postgres_prepare() {
    local bin
    bin=$(postgres_bin) || return
    postgres_own_base
    # Whoever deleted the run folder meant all of the data; root's lies elsewhere, and nobody has its password now.
    [[ -s $run_dir/postgres.password ]] || rm -rf "$postgres_base/data"
    if [[ ! -d $postgres_base/data ]]; then postgres_initdb "$bin"; fi
    # Nothing of this cluster runs (server_up saw to that); after a reboot the pid in there may be another process of the
    # same user, which PostgreSQL would take for a running server.
    rm -f "$postgres_base/data/postmaster.pid"
}

# /var/lib belongs to root alone, so nobody can have put a folder there for us to walk into.
postgres_own_base() {
    ((EUID == 0)) || return 0
    install -d -m 755 /var/lib/quern-local
    install -d -m 700 -o "$postgres_user" -g "$(id -g "$postgres_user")" "$postgres_base"
    printf '%s\n' "$run_dir" >"$postgres_base/made-for"
}

# A cluster appears by a rename, so it is whole or absent.
postgres_initdb() {
    local bin=$1 new=$postgres_base/new password=$postgres_base/new-password
    rm -rf "$new"
    head -c 24 /dev/urandom | base64 | tr '+/' '-_' >"$run_dir/postgres.password"
    # shellcheck disable=SC2016 # expanded by the inner shell
    postgres_run sh -c 'umask 077; cat >"$1"' sh "$password" <"$run_dir/postgres.password"
    postgres_run timeout 120 "$bin/initdb" -D "$new" --username=postgres --pwfile="$password" \
        --auth=scram-sha-256 --encoding=UTF8 --locale=C.UTF-8 --no-instructions >"$run_dir/postgres.log" 2>&1 || {
        tail -n 20 "$run_dir/postgres.log" >&2
        die "PostgreSQL's data could not be made in $new: see the lines above"
    }
    rm -f "$password"
    mv -T "$new" "$postgres_base/data"
    rm -f "$run_dir/postgres/prepared"
}

postgres_launch() {
    local bin
    bin=$(postgres_bin)
    detached / "$run_dir/postgres.log" "${postgres_as[@]}" env -i PATH="$PATH" LANG=C.UTF-8 TZ=UTC \
        "$bin/postgres" -D "$postgres_base/data" -c port="$postgres_port" -c listen_addresses=127.0.0.1 \
        -c unix_socket_directories= -c max_connections=100 -c shared_buffers=128MB -c max_wal_size=2GB \
        -c timezone=UTC -c log_timezone=UTC -c 'log_line_prefix=%m [%p] ' -c log_checkpoints=off
}

# psql as the superuser, for what follows.
postgres_psql() {
    PGPASSWORD=$(<"$run_dir/postgres.password") PGCONNECT_TIMEOUT=5 timeout 60 "$(postgres_bin)/psql" -X -q -A -t \
        -v ON_ERROR_STOP=1 -h 127.0.0.1 -p "$postgres_port" -U postgres "$@"
}

# psql for people and scripts: the fleet's database as its owner, with nothing of ~/.psqlrc.
postgres_client() {
    postgres_ports
    [[ -n $postgres_port && -r $run_dir/postgres.password ]] || die "there is no PostgreSQL in $run_dir yet: run '$0 up'"
    PGPASSWORD=$(<"$run_dir/postgres.password") PGCONNECT_TIMEOUT=5 exec "$(postgres_bin)/psql" -X \
        -h 127.0.0.1 -p "$postgres_port" -U quern -d quern "$@"
}

# Ready means: it takes connections, and our role and database are there.
postgres_ready() {
    timeout 5 "$(postgres_bin)/pg_isready" -q -t 2 -h 127.0.0.1 -p "$postgres_port" || return
    [[ -e $run_dir/postgres/prepared ]] || postgres_make_database
}

# The role may make databases and roles, for tests that want their own; it is no superuser, so pgvector is put into the
# template that every new database is copied from.
postgres_make_database() {
    local password
    password=$(<"$run_dir/postgres.password")
    postgres_psql -d postgres >/dev/null <<END || return
select 'create role quern' where not exists (select from pg_roles where rolname = 'quern') \gexec
alter role quern login createdb createrole password '$password';
\c template1
create extension if not exists vector;
\c postgres
select 'create database quern owner quern' where not exists (select from pg_database where datname = 'quern') \gexec
END
    : >"$run_dir/postgres/prepared"
}
