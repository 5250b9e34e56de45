# What the trials share: a Debian in which nothing of dtk is, made by debootstrap (as root) and kept,
# and commands in it.
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)

bare_debian() {  # folder, packages; sets $jail
    jail=$1
    if [[ ! -e $jail/made ]]; then
        local release
        release=$(. /etc/os-release && echo "$VERSION_CODENAME")
        debootstrap --variant=minbase --include="$2" "$release" "$jail" >/dev/null
        : >"$jail/made"
    fi
    # How this machine reaches the network
    local file
    for file in /etc/{resolv.conf,hosts,pip.conf} /etc/apt/apt.conf.d/99* /etc/ssl/certs/ca-certificates.crt; do
        [[ ! -e $file ]] || cp "$file" "$jail$file"
    done
    mountpoint -q "$jail/proc" || mount -t proc proc "$jail/proc"
    mountpoint -q "$jail/dev" || mount --rbind --make-rslave /dev "$jail/dev"
    trap 'umount -R "$jail/dev" "$jail/proc"' EXIT
}

inside() {  # user, command
    env -i HOME="/home/$1" PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 \
        ${PIP_CERT:+PIP_CERT=/etc/ssl/certs/ca-certificates.crt} chroot ${2:+--userspec="$2"} "$jail" "${@:3}"
}
