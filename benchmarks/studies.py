#!/usr/bin/env python3
"""Cells per minute of study.toml in four ways, in turns on the same two cores: dtk's study; a shell loop over single runs of dtk;
the same study in PyTorch by Hydra's multirun, one job after the other and two side by side (Joblib). Needs ./dtk build and
benchmarks/setup-peer.sh. Start-up, training, sampling, measuring and, of dtk's study, the report are counted.

    benchmarks/studies.py --rounds 3        about ten minutes on two idle cores
"""

import argparse
import json
import os
import random
import shlex
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

here = Path(__file__).resolve().parent
dtk = here.parent / "build/release/dtk"
peer = Path(os.environ.get("DTK_PEER", here.parent / "build/peer")) / "bin/python"
schedules, seeds = ["linear", "quadratic", "cosine", "sigmoid"], [0, 1, 2]
cells = len(schedules) * len(seeds)


def call(command, threads, where=None):
    environment = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE", "OMP_NUM_THREADS": str(threads), "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(here)}
    pinned = lambda: os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, env=environment, preexec_fn=pinned, cwd=where)
    if done.returncode != 0:
        raise SystemExit(f"{shlex.join(map(str, command))}\n{done.stdout}{done.stderr}exit code {done.returncode}")
    return done.stdout


def study(work, resolved):
    call([dtk, "run", here / "study.toml", "--jobs", 2, "--progress", "none", "--out", work / "study"], 1)
    return [json.loads(file.read_text()) for file in (work / "study").glob("results.json")]


def loop(work, resolved):
    lines = [
        shlex.join(map(str, [dtk, "run", resolved, "--set", f"schedule.use='{schedule}'", "--seed", seed, "--progress", "none", "--out", work / f"{schedule}-{seed}"]))
        for schedule in schedules
        for seed in seeds
    ]
    call(["sh", "-ec", "\n".join(lines)], 2)
    return list(work.glob("*/run.json"))


def hydra(work, resolved, jobs):
    side_by_side = ["hydra/launcher=joblib", f"hydra.launcher.n_jobs={jobs}"] if jobs > 1 else []
    arguments = ["+experiment=" + str(resolved), "+schedule=" + ",".join(schedules), "+seed=" + ",".join(map(str, seeds)), f"+threads={2 // jobs}"]
    call([peer, "-W", "ignore", here / "hydra_peer.py", "--multirun", f"hydra.sweep.dir={work}/sweep", *arguments, *side_by_side], 2 // jobs, work)
    return list(work.glob("sweep/*/result.json"))


ways = {
    "dtk, a study": study,
    "dtk, a shell loop": loop,
    "PyTorch, Hydra": lambda work, resolved: hydra(work, resolved, 1),
    "PyTorch, Hydra and Joblib, two jobs": lambda work, resolved: hydra(work, resolved, 2),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    for file, cure in [(dtk, "./dtk build"), (peer, "benchmarks/setup-peer.sh")]:
        if not file.exists():
            raise SystemExit(f"there is no {file}: run {cure}")
    minutes = {way: [] for way in ways}
    order = random.Random(0)
    with tempfile.TemporaryDirectory() as root:
        text = (here / "study.toml").read_text()
        plain = Path(root) / "plain.toml"  # the experiment without what varies
        plain.write_text((text[: text.index("[ablation]")] + text[text.index("[dataset]") :]).replace("threads = 1", "threads = 2"))
        resolved = Path(root) / "resolved.toml"
        resolved.write_text(call([dtk, "run", plain, "--dry-run"], 1))
        for number in range(rounds):
            for way in order.sample(list(ways), len(ways)):
                with tempfile.TemporaryDirectory(dir=root) as work:
                    began = time.monotonic()
                    results = ways[way](Path(work), plain if way == "dtk, a shell loop" else resolved)
                    minutes[way].append((time.monotonic() - began) / 60)
                    expected = 1 if way == "dtk, a study" else cells
                    if len(results) != expected:
                        raise SystemExit(f"{way}: {len(results)} of {expected} results")
                print(f"round {number + 1}  {way:<36}{60 * minutes[way][-1]:.1f} s", flush=True)
    print("\n| way | seconds for 12 cells | cells a minute | dtk's study is faster by |\n|---|---|---|---|")
    for way, spent in minutes.items():
        ratios = [theirs / ours for theirs, ours in zip(spent, minutes["dtk, a study"])]
        print(f"| {way} | {60 * statistics.median(spent):.0f} | {cells / statistics.median(spent):.1f} | {statistics.median(ratios):.2f} ({min(ratios):.2f} – {max(ratios):.2f}) |")


main()
