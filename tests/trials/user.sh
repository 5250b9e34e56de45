#!/usr/bin/env bash
# Tries the set-up without root: sudo tests/trials/user.sh [FOLDER]
# In a bare Debian with Python and Clang alone (FOLDER, /tmp/dtk-trial-user, kept) a user who may install nothing says
# README's first command after `./dtk setup --user`; git's files of the checkout are what he has. Each part is timed.
set -euo pipefail
source "$(dirname "$0")/bare_debian.sh"
bare_debian "${1:-/tmp/dtk-trial-user}" python3,g++,clang-19,ca-certificates
home=$jail/home/author
mkdir -p "$home/dtk"
git -C "$root" ls-files -z | (cd "$root" && tar --null -T - -c) | tar -x -C "$home/dtk"
cat >"$home/day.sh" <<'END'
set -euo pipefail
cd /home/author/dtk
part() {
    local start=$SECONDS
    "${@:2}" >"../$1.log" 2>&1 || { echo "$1 FAILED"; tail -30 "../$1.log"; exit 1; }
    echo "$1: $((SECONDS - start)) s"
}
part setup ./dtk setup --user
part again ./dtk setup --user
part build ./dtk build
part run ./dtk run experiments/quickstart.toml --out ../quickstart
part new ./dtk new sampler mine --in ..
part check ./dtk plugins check ../mine.cpp
part image ./dtk plugins check dataset/image_folder
cat ../setup.log
END
chown -R 1000:1000 "$home"
inside author 1000:1000 bash /home/author/day.sh
