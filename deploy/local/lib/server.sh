# shellcheck shell=bash
# shellcheck disable=SC2154 # variables of the files sourced before this one
#
# server.sh -- the life of one local server, whichever it is: finding it, starting it, waiting for it, ending it.
#
# A server NAME is a set of functions in NAME.sh:
#   NAME_home      the folder it works in; prints a path
#   NAME_choose    picks its ports and writes them to $run_dir/NAME/ports; keeps earlier ones that are still free
#   NAME_ports     reads them from there into NAME_port; empty when there are none
#   NAME_prepare   makes its data and configuration; may run again at any time
#   NAME_launch    starts it, by 'detached'
#   NAME_ready     true when what listens there serves clients; quick, and bounded
#   NAME_signal    the signal that ends it in order
#   NAME_comm      what the kernel calls its process
# To add a server write these, and add its name to 'servers' in ../stack.
#
# There are no pid files. A server is the process of that name whose working folder is its home: this is asked of the
# kernel each time, so it cannot be stale, cannot point at somebody else's process after a reboot, and finds servers
# whose data folder was deleted under them as well.

# Every process with that server's home as its folder: the server and its children.
server_processes() {
    local home
    home=$("$1_home")
    home=${home//\\/\\\\}
    home=${home//\*/\\*}
    home=${home//\?/\\?}
    home=${home//\[/\\[}
    find /proc/[0-9]*/cwd -maxdepth 0 \( -lname "$home" -o -lname "$home (deleted)" \) -printf '%h\n' 2>/dev/null |
        while IFS=/ read -r _ _ pid; do
            [[ $(cat "/proc/$pid/comm" 2>/dev/null) != "$("$1_comm")" ]] || printf '%s\n' "$pid"
        done
}

# The server itself: the one of them whose parent is none of them. Prints nothing when it does not run.
server_pid() {
    local -A mine=()
    local pid parent
    while read -r pid; do mine[$pid]=1; done < <(server_processes "$1")
    for pid in "${!mine[@]}"; do
        parent=$(sed -n 's/^PPid:[[:space:]]*//p' "/proc/$pid/status" 2>/dev/null) || continue
        [[ -n $parent && -z ${mine[$parent]-} ]] || continue
        # A child that outlived its server has been adopted by init; only PostgreSQL has children at all.
        if [[ $1 == postgres ]] && ! postgres_is_main "$pid"; then continue; fi
        printf '%s\n' "$pid"
        return
    done
}

# Starts a command as a daemon: detached FOLDER LOG COMMAND... It belongs to no terminal and no job, works in FOLDER, and
# holds nothing of ours open: neither the lock, nor the pipe of a caller who waits for our output to end.
detached() {
    local folder=$1 log=$2 fd
    shift 2
    [[ ! -s $log ]] || mv -f "$log" "$log.1"
    (
        umask 077
        cd "$folder" || exit
        exec </dev/null >"$log" 2>&1
        for fd in /proc/"$BASHPID"/fd/*; do
            fd=${fd##*/}
            ((fd <= 2)) || eval "exec $fd>&-"
        done
        exec setsid "$@"
    ) &
    disown # its end is none of this shell's news
}

# True when nobody holds the port on this machine. What is left of connections that our side closed does not count
# (FIN_WAIT, TIME_WAIT, LAST_ACK, CLOSING; a client that still holds its end keeps them for a while): servers bind over
# them, and a restarted server must be found at the port it had.
port_free() {
    local hex
    printf -v hex ':%04X' "$1"
    cat /proc/net/tcp /proc/net/tcp6 2>/dev/null |
        awk -v port="$hex" '$4 !~ /^(04|05|06|09|0B)$/ && substr($2, length($2) - 4) == port { taken = 1 } END { exit taken }'
}

# The sockets of a server that was killed may be there for a moment after it: on a machine under load the kept port is
# waited for, up to 5 s, as its clients look for the server there.
port_comes_free() {
    local i
    for ((i = 0; i < 50; i++)); do
        ! port_free "$1" || return 0
        sleep 0.1
    done
    return 1
}

# choose_port KEPT BASE: the kept port while it is free, else a free one of the thousand from BASE. All bases are below
# the range that outgoing connections draw from; the start depends on the run folder, so that two checkouts that start
# at the same moment do not pick the same one.
choose_port() {
    local kept=$1 base=$2 start i port
    if [[ $kept =~ ^[0-9]+$ ]] && port_comes_free "$kept"; then
        printf '%s\n' "$kept"
        return
    fi
    start=$(cksum <<<"$run_dir" | cut -d ' ' -f 1)
    for ((i = 0; i < 1000; i++)); do
        port=$((base + (start + i) % 1000))
        if port_free "$port"; then
            printf '%s\n' "$port"
            return
        fi
    done
    die "no port from $base to $((base + 999)) is free: end what holds them (ss -ltnp shows it)"
}

# True when the server itself, and nobody else, listens on its port, and serves clients. Without the look at whose
# socket it is, a stranger who took the port first would be taken for our server.
server_ready() {
    local name=$1 pid port=${1}_port sockets
    pid=$(server_pid "$name")
    "${name}_ports"
    [[ -n $pid && -n ${!port} ]] || return
    sockets=$(listening_sockets "${!port}")
    [[ -n $sockets ]] || return
    find "/proc/$pid/fd" -lname 'socket:*' -printf '%l\n' 2>/dev/null | grep -xE "socket:\[($sockets)\]" >/dev/null || return
    "${name}_ready"
}

# The inodes of the sockets that listen on a port, as 'a|b'.
listening_sockets() {
    local hex
    printf -v hex ':%04X' "$1"
    cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | awk -v port="$hex" '
        $4 == "0A" && substr($2, length($2) - 4) == port { printf "%s%s", many++ ? "|" : "", $10 }'
}

# Waits until a server is ready: wait_ready NAME SECONDS. False when it ended or the time is over.
wait_ready() {
    local name=$1 end=$((SECONDS + $2)) started=$SECONDS
    until server_ready "$name"; do
        ((SECONDS < end)) || return 1
        # A second of grace: the process may not have come to be what it will be yet.
        if [[ -z $(server_pid "$name") ]] && ((SECONDS > started + 1)); then return 1; fi
        sleep 0.1
    done
}

# Waits until no process of a server is left: wait_gone NAME SECONDS.
wait_gone() {
    local end=$((SECONDS + $2))
    while [[ -n $(server_processes "$1") ]]; do
        ((SECONDS < end)) || return 1
        sleep 0.05
    done
}

# Brings a server up, whatever state it is in. A server that hangs is killed; one that lost its port to somebody
# between our look and its bind is started again on another.
server_up() {
    local name=$1 try
    if [[ -r $run_dir/$name/ports && -n $(server_pid "$name") ]]; then
        if wait_ready "$name" 30; then return; fi
        say "$name runs but does not answer; starting it anew"
    fi
    for try in 1 2 3; do
        server_kill "$name" # nothing runs here, except what a kill -9 left behind
        "${name}_choose" || return
        "${name}_prepare" || return
        "${name}_launch"
        if wait_ready "$name" 60; then return; fi
        grep -qiE 'address (is )?already in use|BindException' "$run_dir/$name.log" || break
        ((try < 3)) && say "$name lost its port to another program; trying the next one"
    done
    say "$name did not become ready; the last errors and lines of $run_dir/$name.log:"
    grep -E 'ERROR|FATAL|Exception|Caused by' "$run_dir/$name.log" | tail -n 5 | cut -c 1-300 >&2 || true
    tail -n 10 "$run_dir/$name.log" | cut -c 1-300 >&2
    server_kill "$name"
    return 1
}

# Ends a server in order, and by force when that takes too long.
server_down() {
    local name=$1 pid
    pid=$(server_pid "$name")
    if [[ -n $pid ]]; then
        kill -s "$("${name}_signal")" "$pid" 2>/dev/null || true
        kill -s CONT "$pid" 2>/dev/null || true # a stopped process would wait for ever
        if wait_gone "$name" 30; then return; fi
        say "$name did not end within 30 s; killing it"
    fi
    server_kill "$name"
}

# kill -9, and the wait until the kernel has taken everything away. Children of PostgreSQL end by themselves when their
# server is gone, and get the time to.
server_kill() {
    local name=$1 pid
    pid=$(server_pid "$name")
    [[ -z $pid ]] || kill -s KILL "$pid" 2>/dev/null || true
    if wait_gone "$name" 5; then return; fi
    for pid in $(server_processes "$name"); do kill -s KILL "$pid" 2>/dev/null || true; done
    wait_gone "$name" 10 || die "$name cannot be killed; is its disk hanging? (processes $(server_processes "$name" | tr '\n' ' '))"
}
