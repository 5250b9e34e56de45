#!/usr/bin/env python3
"""dtk beside PyTorch (Python, eager): training steps and samples per second. Needs ./dtk build and benchmarks/setup-peer.sh.

    benchmarks/compare.py                      all rows, 11 rounds, about half an hour on two idle cores
    benchmarks/compare.py --rounds 5 mlp       the rows whose name holds `mlp`

First it checks that both networks answer alike, given the same weights and the same noise. In a round every row is run once by
each side, in random order, each in a process of its own on the same cores. Start-up, loading and, in training, the first
interval are not counted. A ratio is taken within a round: dtk's rate over PyTorch's.
"""

import argparse
import dataclasses
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

here = Path(__file__).resolve().parent
dtk = here.parent / "build/release/dtk"
peer = Path(os.environ.get("DTK_PEER", here.parent / "build/peer")) / "bin/python"
bf16 = ["train.precision='bf16'"]
small = ["model.width=32", "train.batch=64", "train.steps=6000", "train.log_every=1000"]


@dataclasses.dataclass
class Row:
    name: str
    experiment: str
    threads: int
    set: list = dataclasses.field(default_factory=list)
    n: int = 0  # samples to draw; 0: it trains
    batch: int = 0
    layout: str = "contiguous"

    @property
    def unit(self):
        return "samples/s" if self.n else "steps/s"


rows = [
    Row("mlp: train, 1 thread", "mlp", 1),
    Row("mlp: train, 2 threads", "mlp", 2),
    Row("mlp 32 wide, batch 64: train, 1 thread", "mlp", 1, set=small),
    Row("mlp: sample, batch 64", "mlp", 2, n=64 * 40, batch=64),
    Row("mlp: sample, batch 1024", "mlp", 2, n=1024 * 20, batch=1024),
    Row("unet: train, float32", "unet", 2),
    Row("unet: train, bf16", "unet", 2, set=bf16),
    Row("unet: sample, batch 64", "unet", 2, n=64, batch=64),
]


def call(command, threads):
    """→ standard output. Both sides get the same cores, and threads that do not burn a core while they wait."""
    done = subprocess.run(
        [str(word) for word in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_WAIT_POLICY": "PASSIVE", "CUDA_VISIBLE_DEVICES": ""},
        preexec_fn=lambda: os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads]),
    )
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}exit code {done.returncode}")
    return done.stdout


def sets(assignments):
    return [word for assignment in assignments for word in ("--set", assignment)]


class Benchmark:
    def __init__(self, work, chosen):
        self.work, self.rows = Path(work), chosen
        self.runs = 0
        for row in self.rows:
            resolved = call([dtk, "run", here / f"{row.experiment}.toml", "--dry-run", *sets([f"threads={row.threads}", *row.set])], row.threads)
            self.file(row).write_text(resolved)
        for experiment in dict.fromkeys(row.experiment for row in self.rows):
            call([dtk, "run", here / f"{experiment}.toml", "--progress", "none", "--out", self.weights(experiment)], 2)

    def file(self, row):
        return self.work / f"{self.rows.index(row)}.toml"

    def weights(self, experiment):
        return self.work / experiment

    def checkpoint(self, experiment):
        return next((self.weights(experiment) / "checkpoints").glob("*.safetensors"))

    def fresh(self):
        self.runs += 1
        return self.work / f"run-{self.runs}"

    def check(self):
        """Both sides from the same noise through the same weights: one evaluation at t = 500."""
        for experiment in dict.fromkeys(row.experiment for row in self.rows):
            row = next(row for row in self.rows if row.experiment == experiment)
            out = self.fresh()
            one = ["sampler.steps=1", "sampler.grid.use='leading'", "sampler.grid.offset=500"]
            call([dtk, "sample", self.weights(experiment), "--n", 4, *sets(one), "--progress", "none", "--out", out], 2)
            for layout in ["contiguous", "channels_last"]:
                answer = json.loads(self.ask_peer("check", row, layout, self.checkpoint(experiment), out / "samples.safetensors", 500))
                if not answer["difference"] <= 1e-5:
                    raise SystemExit(f"{experiment}: the two sides answer differently, by {answer['difference']:.2g} of {answer['largest']:.2g}")
                print(f"{experiment}, {layout}: answers differ by {answer['difference']:.1g} at most", file=sys.stderr)

    def ask_peer(self, what, row, layout, *rest):
        return call([peer, here / "peer.py", what, self.file(row), *rest, "--layout", layout], row.threads)

    def dtk_rate(self, row):
        out = self.fresh()
        if row.n:
            of = ["--n", row.n, *sets([f"threads={row.threads}", f"sample.batch={row.batch}"])]
            call([dtk, "sample", self.weights(row.experiment), *of, "--progress", "none", "--out", out], row.threads)
            return row.n / json.loads((out / "result.json").read_text())["seconds"]["sample"]
        call([dtk, "run", self.file(row), "--progress", "none", "--out", out], row.threads)
        return after_the_first([json.loads(line)["time/steps_per_s"] for line in (out / "metrics.jsonl").read_text().splitlines()])

    def peer_rate(self, row, layout=None):
        layout = layout or row.layout
        if row.n:
            return row.n / json.loads(self.ask_peer("sample", row, layout, self.checkpoint(row.experiment), row.n, row.batch))["seconds"]
        return after_the_first(json.loads(self.ask_peer("train", row, layout))["steps_per_s"])

    def choose_layouts(self):
        """PyTorch gets the memory layout that is faster for it, row by row."""
        for row in self.rows:
            if row.experiment != "unet":
                continue
            best = {layout: 0 for layout in ["contiguous", "channels_last"]}
            for _ in range(2):
                for layout in best:
                    best[layout] = max(best[layout], self.peer_rate(row, layout))
            row.layout = max(best, key=best.get)
            print(f"{row.name}: PyTorch reaches {best}", file=sys.stderr)


def after_the_first(rates):
    """Intervals of equally many steps: their joint rate."""
    return statistics.harmonic_mean(rates[1:])


def interval(ratios):
    """The median's, at 95 %, by the bootstrap."""
    draw = random.Random(0)
    medians = sorted(statistics.median(draw.choices(ratios, k=len(ratios))) for _ in range(10000))
    return medians[249], medians[9750]


class Others:
    """The share of the machine's time that other processes took, steal included."""

    def __init__(self):
        self.began = self.now()

    def now(self):
        ticks = [int(n) for n in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
        own = os.times()
        busy = (sum(ticks) - ticks[3] - ticks[4]) / os.sysconf("SC_CLK_TCK")
        return busy - sum(own[:4]), time.monotonic()

    def share(self):
        (busy, now), (busy_then, then) = self.now(), self.began
        return (busy - busy_then) / ((now - then) * os.cpu_count())


def table(chosen, rates, others):
    info = Path("/proc/cpuinfo").read_text().splitlines()
    cpu = next((line.split(": ", 1)[1] for line in info if line.startswith("model name")), platform.machine())
    torch = call([peer, "-W", "ignore", "-c", "import torch; print(torch.__version__)"], 2).strip()
    built = call([dtk, "--version"], 2).strip().splitlines()[-1]
    print(f"{time.strftime('%Y-%m-%d', time.gmtime())}, {cpu}, {os.cpu_count()} cores; dtk: {built}; peer: PyTorch {torch}, Python {platform.python_version()}.")
    print(f"{len(next(iter(rates.values())))} rounds; other processes took {others:.0%} of the machine's time.\n")
    print("| row | PyTorch's layout | dtk | PyTorch | ratio | 95 % | dtk ahead in |")
    print("|---|---|---|---|---|---|---|")
    for row in chosen:
        pairs = rates[row.name]
        ours, theirs = (statistics.median(side) for side in zip(*pairs))
        ratios = [a / b for a, b in pairs]
        low, high = interval(ratios)
        layout = {"contiguous": "NCHW", "channels_last": "channels last"}[row.layout] if row.experiment == "unet" else ""
        wins = sum(ratio > 1 for ratio in ratios)
        print(f"| {row.name} | {layout} | {ours:.4g} {row.unit} | {theirs:.4g} {row.unit} | {statistics.median(ratios):.2f} | {low:.2f} – {high:.2f} | {wins} of {len(ratios)} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("rows", nargs="*", help="parts of rows' names")
    arguments = parser.parse_args()
    for file, cure in [(dtk, "./dtk build"), (peer, "benchmarks/setup-peer.sh")]:
        if not file.exists():
            raise SystemExit(f"there is no {file}: run {cure}")
    chosen = [row for row in rows if not arguments.rows or any(part in row.name for part in arguments.rows)]
    if not chosen or arguments.rounds < 1:
        raise SystemExit(f"nothing to measure; the rows are {', '.join(row.name for row in rows)}")
    if len(os.sched_getaffinity(0)) < max(row.threads for row in chosen):
        raise SystemExit("these rows need two cores")

    rates = {row.name: [] for row in chosen}
    order = random.Random(0)
    with tempfile.TemporaryDirectory() as work:
        benchmark = Benchmark(work, chosen)
        benchmark.check()
        benchmark.choose_layouts()
        others = Others()
        for number in range(arguments.rounds):
            for row in chosen:
                sides = [benchmark.dtk_rate, benchmark.peer_rate]
                measured = {side: side(row) for side in order.sample(sides, 2)}
                rates[row.name].append(tuple(measured[side] for side in sides))
                print(f"round {number + 1}  {row.name:<26}dtk {rates[row.name][-1][0]:.4g}, PyTorch {rates[row.name][-1][1]:.4g} {row.unit}", file=sys.stderr)
        table(chosen, rates, others.share())


main()
