#!/usr/bin/env bash
# Tries the wheel where nothing of dtk is: sudo tests/trials/wheel.sh [FOLDER]
# A bare Debian with Python and a compiler alone is made in FOLDER (/tmp/dtk-trial) by debootstrap and kept there; in it
# a user who is not root makes a virtual environment, installs dist/*.whl with pip, and does what an author does on the
# first day. Each part is timed. pip fetches `torch` and its CUDA libraries, some gigabytes.
set -euo pipefail
source "$(dirname "$0")/bare_debian.sh"
wheel=$(ls "$root"/dist/dtk-*.whl) || { echo "there is no wheel: ./dtk wheel" >&2; exit 2; }
bare_debian "${1:-/tmp/dtk-trial}" python3,python3-venv,g++,ca-certificates
home=$jail/home/author
rm -rf "$home/day"
mkdir -p "$home/day"
cp "$wheel" "$root/experiments/quickstart.toml" "$home/day"
cat >"$home/day/day.sh" <<'END'
set -euo pipefail
cd /home/author/day
part() {
    local start=$SECONDS
    "${@:2}" >"$1.log" 2>&1 || { echo "$1 FAILED"; tail -30 "$1.log"; exit 1; }
    echo "$1: $((SECONDS - start)) s"
}
[[ -e ../venv/bin/pip ]] || python3 -m venv ../venv
part download ../venv/bin/pip install --quiet "$(sed -n 1p requirement)"
started=$SECONDS
part install ../venv/bin/pip install --quiet --force-reinstall --no-deps dtk-*.whl
../venv/bin/pip install --quiet cmake ninja
export PATH=$PWD/../venv/bin:$PATH
part run dtk run quickstart.toml --out quickstart
part new dtk new sampler mine
part build dtk plugins build mine.cpp
part check dtk plugins check mine.cpp
part use dtk run mine.toml --out mine
{
    cat mine.toml
    printf '%s\n' "[ablation]" "seeds = [0, 1, 2]" "[[ablation.axis]]" 'key = "sampler"' 'values = ["mine", "ddim"]'
} >study.toml
part study dtk run study.toml --out study
echo "after the download: $((SECONDS - started)) s"
tail -25 study.log
END
python3 -m zipfile -e "$wheel" "$jail/tmp/wheel" 
grep -ho 'torch==[0-9.]*' "$jail"/tmp/wheel/*.dist-info/METADATA >"$home/day/requirement"
rm -rf "$jail/tmp/wheel"
chown -R 1000:1000 "$home"
inside author 1000:1000 bash /home/author/day/day.sh
