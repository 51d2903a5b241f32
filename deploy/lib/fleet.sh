# shellcheck shell=bash
# shellcheck disable=SC2154 # variables of the files sourced before this one
#
# fleet.sh -- the quickstart's processes: starting them, waiting until they are ready, ending them.
#
# There are no pid files. A process of the fleet is one whose program is called quern-* and whose working folder is
# $fleet: this is asked of the kernel each time, so it cannot be stale, and finds the fleet of another build or of a
# folder that was deleted as well. Each writes to NAME.log in that folder; NAME.log.1 is what was said by the one before.
# Needs $fleet, and 'die'.

# The pids of the fleet's processes, or of those of one program: fleet_pids [worker|aggregator|fake].
fleet_pids() {
    local pid at program
    while IFS=/ read -r pid at; do
        [[ /$at == "$fleet" || /$at == "$fleet (deleted)" ]] || continue
        IFS= read -r -d '' program 2>/dev/null <"/proc/$pid/cmdline" || continue
        if [[ ${program##*/} == quern-${1-*} ]]; then printf '%s\n' "$pid"; fi
    done < <(find /proc/[0-9]*/cwd -maxdepth 0 -printf '%h%l\n' 2>/dev/null | sed 's|^/proc/||')
}

# Asks the processes of one program to end, all at once, and kills what is left after 30 s.
stop_program() {
    local pids end=$((SECONDS + 30))
    mapfile -t pids < <(fleet_pids "$1")
    ((${#pids[@]})) || return 0
    kill -TERM "${pids[@]}" 2>/dev/null || true
    while [[ -n $(fleet_pids "$1") ]]; do
        if ((SECONDS >= end)); then kill -KILL "${pids[@]}" 2>/dev/null || true; fi
        sleep 0.1
    done
}

# In the order in which requests walk, so that none is left half way.
stop_fleet() {
    local name
    for name in worker aggregator fake; do stop_program "$name"; done
}

# Starts a program as a daemon: start_one NAME PROGRAM WORD... It belongs to no terminal, and holds nothing of ours open.
declare -A started=()
start_one() {
    local name=$1
    shift
    [[ ! -s $fleet/$name.log ]] || mv -f "$fleet/$name.log" "$fleet/$name.log.1"
    (
        cd "$fleet" || exit
        exec setsid "$@" >"$name.log" 2>&1 </dev/null 9>&-
    ) &
    started[$name]=$!
}

# The port a program says it has taken, from its log.
port_of() {
    local name=$1 pattern=$2 port
    for _ in {1..300}; do
        port=$(sed -n "s/.*$pattern.*/\1/p" "$fleet/$name.log" 2>/dev/null | head -n 1)
        [[ -n $port ]] && echo "$port" && return
        kill -0 "${started[$name]}" 2>/dev/null || break
        sleep 0.1
    done
    tail -n 5 "$fleet/$name.log" >&2
    die "$name did not start: see the last lines of $fleet/$name.log above"
}

# The body of an answer over HTTP, or why there is none.
get() {
    python3 -c 'import sys, urllib.request, urllib.error
try: print(urllib.request.build_opener(urllib.request.ProxyHandler({})).open(sys.argv[1], timeout=5).read().decode(), end="")
except urllib.error.HTTPError as e: print(e.read().decode(), end="")
except OSError as e: print(e)' "$1"
}

wait_ready() {
    local name=$1 port said=''
    port=$(port_of "$name" '"operation port".*"port":\([0-9]*\)') || exit
    for _ in {1..150}; do
        said=$(get "http://127.0.0.1:$port/readyz")
        [[ $said != ready* ]] || return 0
        kill -0 "${started[$name]}" 2>/dev/null || break
        sleep 0.2
    done
    tail -n 5 "$fleet/$name.log" >&2
    die "$name is not ready ($said): see the last lines of $fleet/$name.log above"
}
