#!/usr/bin/env bash
# Fetches what dtk needs and the machine lacks: Debian packages (debian-packages.txt) and LibTorch (libtorch.txt).
# What is there is left alone, so a second call does nothing.
#   --cuda         fetch the CUDA libraries (libtorch-cuda.txt) also where no GPU is seen
#   --user         install nothing: the packages are unpacked, and CMake and Ninja (tools.txt) put, where LibTorch goes
#   DTK_HOME       where LibTorch goes (~/.cache/dtk)
#   DTK_LIBTORCH   a LibTorch of your own, 2.11 or newer, to use instead: the folder that holds lib/libtorch_cpu.so
#   DTK_YES=1      let apt remove packages that stand in the way
# Exit status 2: something is missing that could not be fetched; what to do about it has been said.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
home=${DTK_HOME:-$HOME/.cache/dtk}
[[ $home == /* ]] || home=$PWD/$home
libtorch=$home/libtorch-2.11.0
debian=$home/debian # packages that are unpacked and not installed
tools=$home/tools   # CMake and Ninja, where they are not installed
export PATH=$PATH:$tools/bin:$debian/usr/bin
# pip and cmake, where they are there
export PYTHONPATH=$debian/usr/lib/python3/dist-packages:$tools${PYTHONPATH:+:$PYTHONPATH}

say() { printf 'dtk: %s\n' "$*" >&2; }
fail() {
    say "$@"
    exit 2
}

# --- Debian packages ---

lists=() # apt's options, where it is to keep its lists in the user's folder

boost_is_new() {  # the header boost/version.hpp
    local define name value
    while read -r define name value; do
        [[ $define != "#define" || $name != BOOST_VERSION ]] || return $((value < 107700))
    done <"$1"
    return 1
}

header() {  # one header: sets $found
    local folder
    for folder in /usr/include /usr/local/include "$debian/usr/include" ${CONDA_PREFIX:+"$CONDA_PREFIX/include"}; do
        found=$folder/$1
        [[ -e $found ]] || continue
        [[ $1 != boost/version.hpp ]] || boost_is_new "$found" || continue
        return 0
    done
    return 1
}

present() {  # the second word of a line of debian-packages.txt
    local probe
    for probe in ${1//|/ }; do
        case $probe in
            /*) [[ -e $probe ]] && return ;;
            *.h | *.hpp) header "$probe" && return ;;
            *) command -v "$probe" >/dev/null && return ;;
        esac
    done
    return 1
}

find_missing() {  # sets $required and $optional to what is missing
    local packages probe kind
    required=() optional=()
    while read -r packages probe kind; do
        [[ -z $packages || $packages == \#* ]] || present "$probe" || {
            if [[ $kind == optional ]]; then optional+=("$packages"); else required+=("$packages"); fi
        }
    done <"$here/debian-packages.txt"
}

first_known() {  # of the alternatives a|b, the first that apt knows
    local package
    for package in ${1//|/ }; do
        if apt-cache "${lists[@]}" show "$package" >/dev/null 2>&1; then
            echo "$package"
            return
        fi
    done
}

find_root() {  # sets $as_root to what a command of root's must begin with
    as_root=(env DEBIAN_FRONTEND=noninteractive)
    if ((EUID != 0)); then
        command -v sudo >/dev/null || return 1
        if [[ -t 0 ]]; then as_root=(sudo "${as_root[@]}"); else as_root=(sudo -n "${as_root[@]}"); fi
        [[ -t 0 ]] || sudo -n true 2>/dev/null || return 1
    fi
}

update_lists() {
    local lists=/var/lib/apt/lists
    if [[ -n $(find $lists/partial -maxdepth 0 -mtime -1 2>/dev/null) ]] && compgen -G "$lists/*_Packages*" >/dev/null; then
        return
    fi
    say "updating the package lists (some seconds)"
    "${as_root[@]}" apt-get -qq update >&2 || say "apt-get update failed; going on with the lists that are there"
}

# Unpacks packages beside those that are installed.
unpack_beside() {  # packages
    local work=$debian.part list=("$@") link target package
    say "unpacking ${#list[@]} packages in $debian (some seconds): ${list[*]}"
    rm -rf "$work"
    mkdir -p "$work/tree" "$debian"
    (cd "$work" && apt-get "${lists[@]}" -qq -o APT::Sandbox::User=root download "${list[@]}") >&2 || return
    for package in "$work"/*.deb; do dpkg-deb -x "$package" "$work/tree" || return; done
    # A link to a file of the system that is unpacked here, too
    find "$work/tree" -type l -lname '/*' -print0 | while IFS= read -r -d '' link; do
        target=$(readlink "$link")
        [[ -e $target || ! -e $work/tree$target ]] || ln -sfr "$work/tree$target" "$link"
    done
    cp -a "$work/tree/." "$debian"
    rm -rf "$work"
}

lacking() {  # packages: they and what they need, as far as it is not installed
    apt-get "${lists[@]}" -s -qq install --no-install-recommends "$@" | sed -n 's/^Inst \([^ ]*\).*/\1/p'
}

# Debian 12 has one Boost at a time in /usr/include: an older one that somebody needs stays, and 1.81 is unpacked beside.
boost_beside() {
    say "Boost in /usr/include is older than 1.77 and stays as it is: Boost 1.81's headers go to $debian"
    unpack_beside $(lacking libboost1.81-dev)
}

confirm_removals() {  # the packages to install
    local removed answer=
    removed=$(apt-get -s install --no-install-recommends "$@" 2>/dev/null | sed -n 's/^Remv \([^ ]*\).*/\1/p' | xargs) || true
    [[ -n $removed && ${DTK_YES:-} != 1 ]] || return 0
    say "to install $* apt would REMOVE: $removed"
    if [[ -t 0 ]]; then read -rp "dtk: go on? [y/N] " answer; fi
    [[ $answer == [yY]* ]] || fail "nothing was changed. To allow it, run: DTK_YES=1 ./dtk setup"
}

install_packages() {
    local alternatives package install=() may_install=0
    find_missing
    ((${#required[@]} + ${#optional[@]})) || return 0
    if ! command -v apt-get >/dev/null; then
        ((!user)) || fetch_tools
        find_missing
        ((${#required[@]} == 0)) || fail "this system has no apt-get: please install what Debian calls ${required[*]//|/ or }"
        say "optional and not there, in Debian's names: ${optional[*]//|/ or }"
        return
    fi
    if ((user)); then
        unpack_packages
        return
    fi
    if find_root; then
        may_install=1
        update_lists
    fi
    if [[ " ${required[*]} " == *" libboost"* && -e /usr/include/boost/version.hpp ]] && boost_beside; then
        find_missing
        ((${#required[@]} + ${#optional[@]})) || return 0
    fi
    if ((!may_install)); then
        ((${#required[@]} == 0)) || fail "packages are missing and this user may not install them." \
            "Without root: ./dtk setup --user. As root: apt-get install --no-install-recommends" \
            "$(for a in "${required[@]}" "${optional[@]}"; do first_known "$a"; done | xargs)"
        say "optional and not there: ${optional[*]//|/ or }"
        return
    fi

    for alternatives in "${required[@]}" "${optional[@]}"; do
        package=$(first_known "$alternatives")
        if [[ -n $package ]]; then
            install+=("$package")
        elif [[ " ${required[*]} " == *" $alternatives "* ]]; then
            fail "apt knows no package $alternatives: is the Debian mirror in /etc/apt reachable (apt-get update)?"
        fi
    done
    ((${#install[@]})) || return 0
    confirm_removals "${install[@]}"
    say "installing ${#install[@]} packages with apt (up to two minutes): ${install[*]}"
    "${as_root[@]}" apt-get -q -y -o DPkg::Lock::Timeout=300 install --no-install-recommends "${install[@]}" >&2 ||
        fail "apt-get failed; its words are above. Try: apt-get update && apt-get install ${install[*]}"
    find_missing
    ((${#required[@]} == 0)) || fail "still missing after the installation: ${required[*]}"
}

# --- without root ---

own_lists() {
    ! compgen -G "/var/lib/apt/lists/*_Packages*" >/dev/null || return 0
    mkdir -p "$home"/apt/{lists,cache}/partial
    lists=(-o "Dir::State::Lists=$home/apt/lists" -o "Dir::Cache=$home/apt/cache")
    compgen -G "$home/apt/lists/*_Packages*" >/dev/null && return
    say "fetching the package lists (some seconds)"
    apt-get "${lists[@]}" -qq update >&2 || fail "apt-get update failed; its words are above. Is the network there?"
}

fetch_tools() {  # CMake and Ninja from their Python wheels, where one of them is missing
    if command -v cmake >/dev/null && command -v ninja >/dev/null; then return; fi
    find_python
    say "fetching CMake and Ninja"
    PIP_REQUIRE_VIRTUALENV=0 "$python" -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes \
        --upgrade --target "$tools" --requirement "$here/tools.txt" >&2 ||
        fail "could not fetch CMake and Ninja; pip's words are above"
}

unpack_packages() {
    local packages probe kind package unpack=() headers=() beyond=()
    own_lists
    while read -r packages probe kind; do
        [[ -n $packages && $packages != \#* ]] && ! present "$probe" || continue
        package=$(first_known "$packages")
        if [[ $kind == optional ]]; then
            case $probe in *.h | *.hpp) headers+=("$package") ;; esac
            continue
        fi
        case $probe in
            cmake | ninja) ;; # fetch_tools
            # They know their files by where they are installed.
            g++ | python3) beyond+=("$packages") ;;
            *) unpack+=("$package") ;;
        esac
    done <"$here/debian-packages.txt"
    ((${#beyond[@]} == 0)) || fail "missing, and not to be had without root: ${beyond[*]//|/ or }." \
        "Ask whoever looks after this machine, or take them from an environment of conda, activated before this call"
    if ((${#unpack[@]})); then
        unpack_beside $(lacking "${unpack[@]}") || fail "packages could not be unpacked in $debian; see above"
    fi
    if ((${#headers[@]})); then
        unpack_beside "${headers[@]}" || say "${headers[*]} could not be unpacked, and is optional"
    fi
    fetch_tools
    find_missing
    ((${#required[@]} == 0)) || fail "still missing: ${required[*]//|/ or }"
    ((${#optional[@]} == 0)) || say "optional and not there; dtk builds and runs without: ${optional[*]//|/ or }"
}

# --- LibTorch ---

find_python() {  # sets $python to one that has pip
    for python in python3 /usr/bin/python3; do
        "$python" -m pip --version >/dev/null 2>&1 && return
    done
    fail "python3 has no pip, which fetches LibTorch. Install python3-pip, or name a LibTorch with DTK_LIBTORCH"
}

need_disk() {  # megabytes, for what
    local free
    mkdir -p "$home"
    free=$(($(df --output=avail -k "$home" | tail -n 1) / 1024))
    ((free >= $1)) || fail "$2 needs $1 MB of disk in $home while it is unpacked, and $free MB are free." \
        "Make room, or choose another place with DTK_HOME"
}

# One wheel at a time, and each gets its name when it is whole: an interrupted set-up keeps what it has.
fetch() {  # a folder; a line "name==version --hash=..."
    local wheels=$1 name=${2%% *}
    if [[ -e $wheels/$name ]]; then
        say "$name is there from an earlier, interrupted set-up"
        return
    fi
    if [[ -d $wheels/part ]]; then say "fetching $name (again: the last set-up was interrupted)"; else say "fetching $name"; fi
    rm -rf "$wheels/part"
    mkdir -p "$wheels/part/tmp"
    printf '%s\n' "$2" >"$wheels/part/requirements.txt"
    local quiet=(--quiet)
    [[ -t 2 ]] && quiet=()
    # The program is C++: which Python runs pip here has no say in which wheel is right.
    TMPDIR=$wheels/part/tmp PIP_REQUIRE_VIRTUALENV=0 "$python" -m pip download "${quiet[@]}" \
        --no-cache-dir --disable-pip-version-check --no-deps --only-binary=:all: --implementation cp \
        --python-version 3.11 --abi cp311 --abi none --platform={manylinux_2_{17..28},manylinux2014}_x86_64 \
        --require-hashes --requirement "$wheels/part/requirements.txt" --dest "$wheels/part/whl" >&2 ||
        fail "could not fetch $name; pip's words are above. Without network: copy $libtorch from another machine, or" \
            "name a LibTorch of your own with DTK_LIBTORCH=/path (the folder that holds lib/libtorch_cpu.so)"
    mv "$wheels"/part/whl/*.whl "$wheels/$name"
    rm -rf "$wheels/part"
}

install_libtorch() {
    local line lines=() work=$libtorch.part # where the wheels wait until all are there
    [[ ! -e $libtorch/torch/lib/libtorch_cpu.so ]] || return 0
    [[ $(uname -sm) == "Linux x86_64" ]] ||
        fail "the LibTorch that dtk fetches is for Linux on x86_64: name one for this machine with DTK_LIBTORCH=/path"
    find_python
    need_disk 1700 LibTorch
    say "LibTorch 2.11.0 goes to $libtorch (545 MB to fetch, a minute at 100 Mbit/s; 1.0 GB on disk)"
    mapfile -t lines < <(grep -v '^#' "$here/libtorch.txt")
    for line in "${lines[@]}"; do fetch "$work/wheels" "$line"; done
    say "unpacking (about 10 s)"
    rm -rf "$work/tree"
    "$python" "$here/unpack.py" "$work/tree" "$work"/wheels/* || fail "could not unpack LibTorch in $work"
    rm -rf "$libtorch"
    mv "$work/tree" "$libtorch"
    rm -rf "$work"
}

loads_cuda() {
    "$python" -c 'import ctypes, os, sys; ctypes.CDLL(sys.argv[1], os.RTLD_NOW | os.RTLD_GLOBAL)' \
        "$libtorch/torch/lib/libtorch_cuda.so" >&2
}

fetch_cuda() {  # the libraries that the machine has: their wheels are left out
    local line libraries library wheels=$libtorch/wheels
    while read -r line; do
        [[ $line != \#* ]] || continue
        libraries=${line#*# }
        for library in $libraries; do
            if [[ $1 != *"$library "* ]]; then
                fetch "$wheels" "${line%% #*}"
                break
            fi
        done
    done <"$here/libtorch-cuda.txt"
    "$python" "$here/unpack.py" "$libtorch" "$wheels"/*
    rm -rf "$wheels"
}

install_cuda() {
    [[ ! -e $libtorch/cuda-is-complete ]] || return 0
    [[ $cuda == 1 || -e /dev/nvidia0 ]] || command -v nvidia-smi >/dev/null || return 0
    find_python
    need_disk 5000 "LibTorch's CUDA half"
    say "CUDA libraries for LibTorch go to $libtorch (230 MB to fetch with a CUDA 13 toolkit and cuDNN 9, else 2 GB)"
    fetch_cuda "$(PATH=$PATH:/sbin:/usr/sbin ldconfig -p || true)"
    if ! loads_cuda; then
        say "LibTorch does not load with this machine's CUDA libraries: fetching its own"
        fetch_cuda ""
        loads_cuda || fail "LibTorch's CUDA half does not load (see above); a run on the CPU is not concerned"
    fi
    : >"$libtorch/cuda-is-complete"
}

# --- all of it ---

cuda=0 user=0
for option in "$@"; do
    case $option in
        --cuda) cuda=1 ;;
        --user) user=1 ;;
        *) fail "unknown argument $option: setup knows --cuda and --user" ;;
    esac
done

mkdir -p "$home" || fail "cannot create $home: choose another place with DTK_HOME"
exec 9>"$home/setup.lock"
if ! flock -n 9; then
    say "another set-up is at work in $home: waiting for it"
    flock 9
fi

install_packages
if [[ -n ${DTK_LIBTORCH:-} ]]; then
    [[ -e $DTK_LIBTORCH/lib/libtorch_cpu.so ]] || fail "DTK_LIBTORCH=$DTK_LIBTORCH holds no lib/libtorch_cpu.so"
else
    install_libtorch
    install_cuda
fi
