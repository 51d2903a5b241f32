# shellcheck shell=bash
# shellcheck disable=SC2154 # variables of the files sourced before this one
#
# next_suite.sh -- what this suite lacks, from the one after it: yyjson as packages, pgvector as source.
#
# The machine's own apt sources are copied with the suite's name changed, so mirrors, proxies, keys and options stay
# as its owner set them. The copy and the lists made from it live in a folder of their own: the machine's apt never
# learns of the other suite, and no pin is needed. What was fetched is kept in the user's cache.
#
# To serve another suite, add its line to next_suites. To take another package from the next suite, check first
# that it asks for nothing else from there (dpkg refuses to install it otherwise).

suite_codename() { sed -n 's/^VERSION_CODENAME=//p' /etc/os-release; }

# The suites to try for what this one lacks, best first.
next_suites() {
    case $(suite_codename) in
    bookworm) echo trixie ;;
    trixie) echo forky ;;
    noble) echo resolute questing ;;
    *) die "$1 is not in this machine's suite, and only Debian 12, Debian 13 and Ubuntu 24.04 are known here: install it by hand" ;;
    esac
}

# Prints a one-line source file (stdin) as type $1 of suite $3; only lines about suite $2 itself stay.
change_suite_of_lines() {
    awk -v type="$1" -v old="$2" -v new="$3" '
        BEGIN { split(old " stable oldstable oldoldstable", words); for (i in words) ours[words[i]] = 1 }
        $1 != "deb" { next }
        {
            at = 2
            if ($2 ~ /^\[/)
                while (at < NF && $at !~ /\]$/) at++
            if ($2 ~ /^\[/) at++
            if (!($(at + 1) in ours) || $0 !~ / main( |$)/) next
            $1 = type
            $(at + 1) = new
            print
        }'
}

# The same for deb822 (.sources): whole paragraphs, with all fields but Types and Suites kept.
change_suite_of_paragraphs() {
    awk -v type="$1" -v old="$2" -v new="$3" '
        BEGIN { split(old " stable oldstable oldoldstable", words); for (i in words) ours[words[i]] = 1 }
        function flush_paragraph() {
            if (binary && suite && main && !off)
                printf "Types: %s\nSuites: %s\n%s\n", type, new, kept
            binary = suite = main = off = 0
            kept = field = ""
        }
        /^#/ { next }
        /^[ \t]*$/ { flush_paragraph(); next }
        {
            if ($0 ~ /^[^ \t]/) {
                field = tolower($1)
                sub(/:.*/, "", field)
            }
            for (i = 1; i <= NF; i++) {
                if (field == "types" && $i == "deb") binary = 1
                if (field == "suites" && $i in ours) suite = 1
                if (field == "components" && $i == "main") main = 1
                if (field == "enabled" && tolower($i) ~ /^(no|false|off|0)$/) off = 1
            }
            if (field != "types" && field != "suites")
                kept = kept $0 "\n"
        }
        END { flush_paragraph() }'
}

# Writes the machine's sources, as type $1 of suite $2, into folder $3.
write_sources() {
    local file to=$3
    for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
        [[ ! -r $file ]] || change_suite_of_lines "$1" "$(suite_codename)" "$2" <"$file" >>"$to/next.list"
    done
    for file in /etc/apt/sources.list.d/*.sources; do
        [[ ! -r $file ]] || change_suite_of_paragraphs "$1" "$(suite_codename)" "$2" <"$file" >>"$to/next.sources"
    done
    find "$to" -empty -type f -delete
}

# Makes folder $3 a place for apt of its own, which knows only suite $2.
next_place() {
    mkdir -p "$3/sources" "$3/lists/partial" "$3/cache/archives/partial" "$3/pins" "$3/got"
    : >"$3/status"
    write_sources "$1" "$2" "$3/sources"
}

next_apt() {
    local at=$1
    shift
    timeout 300 apt-get -q "${apt_patience[@]}" -o APT::Sandbox::User="$(id -un)" \
        -o Dir::Etc::sourcelist=/dev/null -o Dir::Etc::sourceparts="$at/sources" \
        -o Dir::Etc::preferences=/dev/null -o Dir::Etc::preferencesparts="$at/pins" \
        -o Dir::State="$at" -o Dir::State::lists="$at/lists" -o Dir::State::status="$at/status" \
        -o Dir::Cache="$at/cache" -o Acquire::Languages=none \
        -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false \
        -o Acquire::IndexTargets::deb::CNF::DefaultEnabled=false "$@"
}

# One try to read the lists of the place in folder $1, and to fetch with the words that follow into its folder 'got'.
# A list that cannot be read may be that of a source which does not serve this suite: fetching decides.
next_get() {
    local at=$1
    shift
    next_apt "$at" update || true
    (cd "$at/got" && next_apt "$at" "$@")
}

# Fetches from the first next suite that has them: fetch_from_next deb|deb-src FOLDER PACKAGE...
# FOLDER appears only when everything in it has come whole.
fetch_from_next() {
    local type=$1 folder=$2 suite at suites get=(download)
    shift 2
    suites=$(next_suites "$1") || exit
    [[ $type == deb ]] || get=(source --download-only)
    for suite in $suites; do
        at=$(mktemp -d -p "$scratch")
        next_place "$type" "$suite" "$at"
        if persistently next_get "$at" "${get[@]}" "$@"; then
            mkdir -p "${folder%/*}"
            rm -rf "$folder"
            mv "$at/got" "$folder"
            return
        fi
    done
    die "could not fetch $* from the next suite ($suites): see apt's last lines above, check the network and run '$0' again"
}

# yyjson: of the suite itself, else of the next one.
have_yyjson() { [[ ${installed[libyyjson-dev]-} ]] || pkg-config --exists yyjson 2>/dev/null; }

install_yyjson() {
    ! have_yyjson || return 0
    local kept
    kept="$cache/debs-$(suite_codename)-$(dpkg --print-architecture)/yyjson"
    if [[ ! -d $kept ]]; then
        refresh_lists libyyjson-dev
        if suite_has libyyjson-dev; then
            install_packages libyyjson-dev
            return
        fi
        say "fetching yyjson from the next suite"
        fetch_from_next deb "$kept" libyyjson0 libyyjson-dev
    fi
    root_needed_for libyyjson-dev
    say "installing libyyjson0 and libyyjson-dev of the next suite"
    if ! persistently "${as_root[@]}" timeout 300 dpkg -i "$kept"/*.deb; then
        rm -rf "$kept"
        die "dpkg did not take the yyjson packages: see its last lines above, and run '$0' again"
    fi
    read_installed
}

# pgvector: of the suite itself, else built from the next one's source for the installed server.
have_pgvector() {
    local major
    major=$(postgres_major)
    [[ -n $major && -e /usr/share/postgresql/$major/extension/vector.control ]]
}

install_pgvector() {
    ! have_pgvector || return 0
    local major kept
    major=$(postgres_major)
    [[ -n $major ]] || die "no PostgreSQL server is below /usr/lib/postgresql: install the package 'postgresql'"
    kept="$cache/source/pgvector"
    refresh_lists pgvector
    if suite_has "postgresql-$major-pgvector"; then
        install_packages "postgresql-$major-pgvector"
        return
    fi
    install_packages make gcc
    if [[ ! -d $kept ]]; then
        say "fetching the source of pgvector from the next suite"
        fetch_from_next deb-src "$kept" pgvector
    fi
    build_pgvector "$major" "$kept"
}

# Prints the folder of the server's headers. They are unpacked into $scratch, not installed: their package wants clang
# and LLVM (for just-in-time code, which we build without), and these are larger than all the rest together.
server_headers() {
    local major=$1 at="$scratch/headers"
    if [[ -e /usr/include/postgresql/$major/server/postgres.h ]]; then
        printf '/usr/include/postgresql/%s/server\n' "$major"
        return
    fi
    mkdir "$at"
    (cd "$at" && persistently timeout 300 apt-get download -q -o APT::Sandbox::User="$(id -un)" "${apt_patience[@]}" \
        "postgresql-server-dev-$major" && dpkg -x ./*.deb .) ||
        die "the headers of PostgreSQL $major could not be fetched: see apt's last lines above, and run '$0' again"
    printf '%s/usr/include/postgresql/%s/server\n' "$at" "$major"
}

# OPTFLAGS is emptied because upstream's -march=native would tie the library to this very processor.
build_pgvector() {
    local major=$1 kept=$2 at="$scratch/pgvector" settings headers
    headers=$(server_headers "$major")
    settings=(OPTFLAGS= with_llvm=no "PG_CONFIG=/usr/lib/postgresql/$major/bin/pg_config" "PG_CPPFLAGS=-I$headers")
    say "building pgvector for PostgreSQL $major"
    mkdir "$at"
    if ! tar -xf "$(find "$kept" -name '*.orig.tar.*' ! -name '*.asc')" -C "$at" --strip-components=1; then
        rm -rf "$kept"
        die "the source of pgvector in $kept could not be unpacked: run '$0' again to fetch it anew"
    fi
    persistently timeout 600 make -j "$(nproc)" -C "$at" "${settings[@]}" ||
        die "pgvector did not build: see the last lines above"
    root_needed_for pgvector
    persistently "${as_root[@]}" make -C "$at" "${settings[@]}" install ||
        die "pgvector could not be installed: see the last lines above"
}
