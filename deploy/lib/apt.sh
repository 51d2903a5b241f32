# shellcheck shell=bash
# shellcheck disable=SC2154 # variables of the files sourced before this one
#
# apt.sh -- packages of the machine's own suite: which are missing, and getting them without a question asked.
#
# A wanted package may be written 'first|second': any installed one will do, else the first that the suite has is taken.
# What stays true: root's rights (as_root) go to apt, dpkg and make install only; nothing is ever removed (--no-remove);
# a server that gets installed is not started, not then and not at the next boot, and PostgreSQL makes no cluster.
# Needs $scratch, a folder that is emptied at exit.

as_root=(env)
((EUID == 0)) || as_root=(sudo env)
as_root+=(DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1)
for variable in http_proxy https_proxy no_proxy APT_CONFIG; do
    [[ -z ${!variable-} ]] || as_root+=("$variable=${!variable}") # sudo would forget them
done

apt_patience=(-o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 -o Acquire::http::Timeout=30
    -o Acquire::https::Timeout=30)

# Stops early, with a sentence, where sudo would fail late or wait for a password that nobody can type.
root_needed_for() {
    ((EUID == 0)) && return
    command -v sudo >/dev/null || die "$1 must be installed by root and there is no sudo here: run '$0' once as root"
    sudo -n true 2>/dev/null && return
    [[ -t 0 ]] || die "$1 must be installed by root and sudo wants a password: run '$0' once in a terminal"
    say "sudo is needed to install $1"
    sudo -v || die "sudo refused: run '$0' once as root"
}

# Runs a command up to three times, because networks and locks have bad moments. What it printed is shown only when
# the last try failed too.
persistently() {
    local try log
    log=$(mktemp -p "$scratch")
    for try in 1 2 3; do
        "$@" >"$log" 2>&1 </dev/null && return
        ((try == 3)) || sleep $((try * 5))
    done
    tail -n 20 "$log" >&2
    return 1
}

# Reads which packages dpkg has, once, into the table 'installed'.
declare -A installed=()
read_installed() {
    local name status
    installed=()
    while read -r name status; do
        if [[ $status == installed ]]; then installed[$name]=1; fi
    done < <(dpkg-query -W -f '${Package} ${db:Status-Status}\n')
}

# Prints those of the wanted packages of which no alternative is there.
missing_of() {
    local wanted alternative
    for wanted in "$@"; do
        for alternative in ${wanted//|/ }; do
            [[ -z ${installed[$alternative]-} ]] || continue 2
        done
        printf '%s\n' "$wanted"
    done
}

suite_has() {
    local candidate
    candidate=$(LC_ALL=C apt-cache policy "$1" | sed -n 's/^  Candidate: //p')
    [[ -n $candidate && $candidate != '(none)' ]]
}

# Prints for each 'first|second' the first one that the suite has, or the last if it has none.
choice_of() {
    local wanted alternative
    for wanted in "$@"; do
        for alternative in ${wanted//|/ }; do
            if suite_has "$alternative"; then break; fi
        done
        printf '%s\n' "$alternative"
    done
}

# Refreshes apt's lists, once per run. One broken source among the machine's own is no reason to stop: what cannot be
# installed without it will say so.
lists_fresh=
refresh_lists() {
    [[ -z $lists_fresh ]] || return 0
    root_needed_for "${1//|/ or }"
    say "reading the package lists"
    persistently "${as_root[@]}" timeout 300 apt-get update -q "${apt_patience[@]}" ||
        say "some of apt's sources could not be read; going on with the others"
    lists_fresh=yes
}

# Installs the wanted packages that are missing.
install_packages() {
    local missing chosen
    mapfile -t missing < <(missing_of "$@")
    ((${#missing[@]})) || return 0
    refresh_lists "${missing[*]}"
    mapfile -t chosen < <(choice_of "${missing[@]}")
    say "installing ${chosen[*]}"
    persistently "${as_root[@]}" timeout 1800 apt-get install -y -q --no-install-recommends --no-remove \
        "${apt_patience[@]}" -o Dpkg::Use-Pty=0 -o Dpkg::Options::=--force-confold "${chosen[@]}" ||
        die "apt could not install ${chosen[*]}: see its last lines above, put that right and run '$0' again"
    read_installed
}

# From here to loud_again, the scripts of packages start no service (policy-rc.d says no) and make no PostgreSQL cluster.
# Both files are read by those scripts only; a policy that the machine has already is left alone.
policy=/usr/sbin/policy-rc.d
policy_mark="made by quern's deploy/packages"
no_cluster=/etc/postgresql-common/createcluster.d/quern-no-cluster.conf
quiet_files=()

keep_servers_quiet() {
    if [[ ! -e $policy ]] || grep -qs "$policy_mark" "$policy"; then # the mark: left by a run of ours that was killed
        quiet_files+=("$policy")
        # shellcheck disable=SC2016 # expanded by the inner shell
        "${as_root[@]}" sh -c 'printf "#!/bin/sh\n# %s\nexit 101\n" "$2" >"$1" && chmod 755 "$1"' sh "$policy" "$policy_mark"
    fi
    quiet_files+=("$no_cluster")
    # shellcheck disable=SC2016
    "${as_root[@]}" sh -c 'mkdir -p "${1%/*}" && echo "create_main_cluster = false" >"$1"' sh "$no_cluster"
    # A createcluster.conf that was written by hand may neither include that folder nor say a word about clusters.
    local conf=/etc/postgresql-common/createcluster.conf
    if [[ -e $conf ]] && ! grep -qE '^ *(include_dir|create_main_cluster)' "$conf"; then
        # shellcheck disable=SC2016
        "${as_root[@]}" sh -c 'echo "create_main_cluster = false" >>"$1"' sh "$conf"
    fi
}

loud_again() {
    ((${#quiet_files[@]})) || return 0
    "${as_root[@]}" rm -f "${quiet_files[@]}"
    quiet_files=()
}

# Installs server packages whose services nobody asked for.
install_servers() {
    local missing
    mapfile -t missing < <(missing_of "$@")
    ((${#missing[@]})) || return 0
    refresh_lists "${missing[*]}"
    keep_servers_quiet
    install_packages "${missing[@]}"
    loud_again
    local service
    for service in redis-server nginx; do
        [[ ${missing[*]} == *${service%-server}* ]] || continue
        "${as_root[@]}" update-rc.d "$service" disable >/dev/null 2>&1 || true # of systemd, too: else it starts at boot
    done
}
