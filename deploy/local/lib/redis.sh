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

redis_server() { command -v redis-server || { [[ -x /usr/bin/redis-server ]] && echo /usr/bin/redis-server; }; }

redis_prepare() { redis_server >/dev/null || die "there is no redis-server: run deploy/packages stack"; }

# The settings stand in the command: Redis reads the path of a file as a pattern, and where a folder's name makes that
# match nothing it would start with its defaults, open to the network.
# noeviction: claims and kept answers guard against paying twice, and a claim that was evicted in silence looks like
# one that was never made. A write refused at the bound is an error that the programs count. Every key has an end of
# its own, so memory comes back by itself. DEBUG lets tests make it slow.
redis_launch() {
    detached "$run_dir/redis" "$run_dir/redis.log" "$(redis_server)" --bind 127.0.0.1 --port "$redis_port" \
        --protected-mode yes --daemonize no --save '' --appendonly no --enable-debug-command local \
        --maxmemory 512mb --maxmemory-policy noeviction
}

redis_ready() {
    # shellcheck disable=SC2016 # expanded by the inner shell
    timeout 2 bash -c 'exec 3<>"/dev/tcp/127.0.0.1/$1" && printf "PING\r\n" >&3 && read -r line <&3 && [[ $line == +PONG* ]]' \
        redis_ready "$redis_port" 2>/dev/null
}
