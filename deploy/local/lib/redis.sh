# shellcheck shell=bash
# shellcheck disable=SC2154 # variables of the files sourced before this one
#
# redis.sh -- Redis as a pure cache: nothing on disk, so a restart loses everything, as it may.

redis_home() { printf '%s/redis\n' "$run_dir"; }
redis_comm() { echo redis-server; }
redis_signal() { echo TERM; }

redis_ports() {
    redis_port=''
    # shellcheck disable=SC1091
    [[ ! -r $run_dir/redis/ports ]] || . "$run_dir/redis/ports"
}

redis_choose() {
    mkdir -p "$run_dir/redis"
    redis_ports
    redis_port=$(choose_port "$redis_port" 26000) || return
    printf 'redis_port=%s\n' "$redis_port" >"$run_dir/redis/ports"
}

# noeviction: claims and kept answers guard against paying twice, and a claim that was evicted in silence looks like
# one that was never made. A write refused at the bound is an error that the programs count. Every key has an end of
# its own, so memory comes back by itself.
redis_prepare() {
    cat >"$run_dir/redis/redis.conf" <<END
bind 127.0.0.1
port $redis_port
protected-mode yes
daemonize no
save ""
appendonly no
maxmemory 512mb
maxmemory-policy noeviction
END
}

redis_launch() {
    local server
    server=$(command -v redis-server || echo /usr/bin/redis-server)
    [[ -x $server ]] || die "there is no redis-server: run deploy/packages stack"
    detached "$run_dir/redis" "$run_dir/redis.log" "$server" ./redis.conf
}

redis_ready() {
    # shellcheck disable=SC2016 # expanded by the inner shell
    timeout 2 bash -c 'exec 3<>"/dev/tcp/127.0.0.1/$1" && printf "PING\r\n" >&3 && read -r line <&3 && [[ $line == +PONG* ]]' \
        redis_ready "$redis_port" 2>/dev/null
}
