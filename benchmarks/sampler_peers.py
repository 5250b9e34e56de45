#!/usr/bin/env python3
"""dtk's samplers beside those of k-diffusion and diffusers: from the same x_T, along the same noise levels, with the same exact denoiser of a
mixture on the line, in float64. Prints how far the end points are apart and, where they differ, whose are nearer to where the exact
probability flow ends; of samplers with noise, the standard deviation of the samples of N(0.7, 0.3²), which their recursion alone decides.

    python3 -m venv PEER && PEER/bin/pip install torch==2.11.0 k-diffusion diffusers
    ./dtk build && PEER/bin/python benchmarks/sampler_peers.py          two minutes; a peer that is not installed is skipped
"""

import argparse
import json
import math
import struct
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

warnings.filterwarnings("ignore")

try:
    import torch
except ImportError:
    sys.exit("PyTorch is not installed here, and both peers need it: nothing to compare. The first lines of this file say how to get them.")

torch.set_default_dtype(torch.float64)
n_points, levels = 64, (20, 40, 80)
least, most = 0.02, 150.0  # σ/α, of the grids by noise level
mixture = {"w": [0.3, 0.5, 0.2], "mean": [-2.0, 0.5, 3.0], "var": [0.25, 0.09, 0.5]}
gaussian = {"w": [1.0], "mean": [0.7], "var": [0.09]}
betas = torch.linspace(1e-4, 0.02, 1000)
alpha_bar = torch.cumprod(1 - betas, 0)
ratios = ((1 - alpha_bar) / alpha_bar).sqrt()


def denoised(x, sigma, law):
    """E[x_0 | x_0 + σ ε = x]"""
    w, mean, var = (torch.tensor(law[key], dtype=torch.float64)[:, None] for key in ("w", "mean", "var"))
    total = var + sigma**2
    share = torch.softmax(w.log() - 0.5 * total.log() - 0.5 * (x - mean) ** 2 / total, 0)
    return (share * (mean + var / total * (x - mean))).sum(0)


def flowed(x, start, end, law):
    """Where the probability flow, which keeps quantiles on the line, takes x from σ = start to σ = end."""
    w, mean, var = (torch.tensor(law[key], dtype=torch.float64)[:, None] for key in ("w", "mean", "var"))
    share = lambda y, sigma: (w * torch.special.ndtr((y - mean) / (var + sigma**2).sqrt())).sum(0)
    wanted, low, high = share(x, start), torch.full_like(x, -1e4), torch.full_like(x, 1e4)
    for _ in range(120):
        middle = (low + high) / 2
        below = share(middle, end) < wanted
        low, high = torch.where(below, middle, low), torch.where(below, high, middle)
    return (low + high) / 2


def karras(n):
    along = torch.linspace(0, 1, n)
    return (most ** (1 / 7) + along * (least ** (1 / 7) - most ** (1 / 7))) ** 7


def trailing(n):
    return [round(1000 - i * 1000 / n) - 1 for i in range(n)]


quantiles = torch.special.ndtri((torch.arange(n_points) + 0.5) / n_points)


class Dtk:
    def __init__(self, program, folder):
        self.program, self.folder, self.runs = program, Path(folder), 0

    def samples(self, law, sampler, grid, n, count=n_points, seed=0):
        """count samples; from the quantiles of N(0, 1) where there are as many as of them."""
        self.runs += 1
        out = self.folder / str(self.runs)
        file = self.folder / f"{self.runs}.toml"
        means, variances = [[m] for m in law["mean"]], [[v] for v in law["var"]]
        file.write_text(
            f"""name = "peers"
seed = {seed}
threads = 1
[dataset]
use = "gaussian_mixture"
preset = "none"
weights = {law["w"]}
means = {means}
covariances = {variances}
[process]
steps = 1000
[schedule]
use = "linear"
[model]
use = "exact"
[sampler]
steps = {n}
{sampler}
[grid]
{grid}
[sample]
n = {count}
batch = {count}
start = "{"quantiles" if count == n_points else "random"}"
precision = "float64"
"""
        )
        done = subprocess.run([self.program, "run", file, "--out", out, "--progress", "none"], capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"{done.stdout}{done.stderr}dtk run {file}: exit code {done.returncode}")
        content = (out / "samples.safetensors").read_bytes()
        (length,) = struct.unpack("<Q", content[:8])
        tensor = json.loads(content[8 : 8 + length])["samples"]
        kind = {"F64": torch.float64, "F32": torch.float32}[tensor["dtype"]]
        first, last = tensor["data_offsets"]
        return torch.frombuffer(bytearray(content[8 + length + first : 8 + length + last]), dtype=kind).double()


def compare(title, rows, dtk, peer_samples, grid_of, sigmas_of):
    print(f"\n{title}\n")
    print("| peer's sampler | dtk's | end points apart, n = 20, 40, 80 | error of the peer, n = 20, 40, 80 (order) | error of dtk (order) | |")
    print("|---|---|---|---|---|---|")
    for name, call, sampler in rows:
        apart, theirs, ours = [], [], []
        for n in levels:
            sigmas = sigmas_of(n)
            start = quantiles * math.sqrt(1 + float(sigmas[0]) ** 2)  # x/α
            end = denoised(flowed(start, sigmas[0], sigmas[-1], mixture), sigmas[-1], mixture)
            try:
                peer = peer_samples(call, n, start)
            except Exception as error:  # of a peer; the others are still of interest
                print(f"| {name} | | fails: {str(error).splitlines()[0]} | | | |", flush=True)
                break
            own = dtk.samples(mixture, sampler, grid_of(n), n)
            apart.append(float((peer - own).abs().max()))
            theirs.append(float((peer - end).abs().max()))
            ours.append(float((own - end).abs().max()))
        if len(apart) < len(levels):
            continue
        order = lambda errors: math.log2(errors[0] / errors[-1]) / math.log2(levels[-1] / levels[0])
        show = lambda errors: ", ".join(f"{e:.1e}" for e in errors) + f" ({order(errors):.1f})"
        if any(map(math.isnan, theirs)):
            verdict = "the peer's are not numbers"
        elif all(a < 1e-3 * max(b, 1e-2) for a, b in zip(apart, theirs)):
            verdict = "agree"
        elif ours[-1] < 0.9 * theirs[-1]:
            verdict = "differ; dtk's are nearer to the exact flow"
        elif theirs[-1] < 0.9 * ours[-1]:
            verdict = "differ; the peer's are nearer to the exact flow"
        else:
            verdict = "differ; as near"
        print(f"| {name} | {sampler.replace('use = ', '').replace(chr(10), ', ')} | {', '.join(f'{a:.1e}' for a in apart)} | {show(theirs)} | {show(ours)} | {verdict} |", flush=True)


def spreads(title, rows, dtk, peer_samples, grid_of, start_of):
    """Of samplers with noise: the standard deviation of 100,000 samples of N(0.7, 0.3²)."""
    count = 100000
    print(f"\n{title}\n")
    print("| peer's sampler | dtk's | sd of the peer, n = 20, 80, 320 | sd of dtk | (0.3 with many steps; ± 0.0007) |")
    print("|---|---|---|---|---|")
    for name, call, sampler in rows:
        theirs, ours = [], []
        for n in (20, 80, 320):
            torch.manual_seed(n)
            theirs.append(float(peer_samples(call, n, start_of(n) * torch.randn(count)).std()))
            ours.append(float(dtk.samples(gaussian, sampler, grid_of(n), n, count).std()))
        near = all(abs(a - b) < 0.003 for a, b in zip(theirs, ours))
        worse = abs(theirs[-1] - 0.3) > abs(ours[-1] - 0.3)
        verdict = "agree" if near else "differ; dtk's is nearer to 0.3" if worse else "differ; the peer's is nearer to 0.3"
        show = lambda values: ", ".join(f"{v:.4f}" for v in values)
        print(f"| {name} | {sampler.replace('use = ', '').replace(chr(10), ', ')} | {show(theirs)} | {show(ours)} | {verdict} |", flush=True)


def k_diffusion(dtk):
    try:
        from k_diffusion import sampling as kd
    except ImportError as missing:
        print(f"k-diffusion is not installed here ({missing}): skipped.")
        return
    law = mixture
    model = lambda x, sigma, **_: denoised(x, sigma.reshape(-1)[0], law)

    def run(call, n, start):
        return call(model, start, torch.cat([karras(n), torch.zeros(1)]))

    quiet = {"disable": True}
    plain = lambda f, **more: lambda model, x, sigmas: f(model, x, sigmas, **more, **quiet)
    rows = [
        ("euler", plain(kd.sample_euler), 'use = "euler"'),
        ("heun", plain(kd.sample_heun), 'use = "heun"'),
        ("dpm_2", plain(kd.sample_dpm_2), 'use = "dpm2"'),
        ("lms", plain(kd.sample_lms), 'use = "lms"'),
        ("dpmpp_2s_ancestral, eta 0", plain(kd.sample_dpmpp_2s_ancestral, eta=0.0), 'use = "dpm_solver_pp"\nform = "2s"'),
        ("dpmpp_2m", plain(kd.sample_dpmpp_2m), 'use = "dpm_solver_pp"\nform = "2m"'),
        ("dpmpp_3m_sde, eta 0", plain(kd.sample_dpmpp_3m_sde, eta=0.0), 'use = "dpm_solver_pp"\nform = "3m"'),
    ]
    grid = lambda n: f'use = "karras"\nsigma_min = {least}\nsigma_max = {most}'
    compare("k-diffusion", rows, dtk, run, grid, karras)
    law = gaussian
    noise = lambda *_: lambda sigma, sigma_next: torch.randn(100000)
    rows = [
        ("heun, s_churn 40", plain(kd.sample_heun, s_churn=40.0), 'use = "heun"\ns_churn = 40'),
        ("euler_ancestral", plain(kd.sample_euler_ancestral), 'use = "euler_ancestral"'),
        ("dpm_2_ancestral", plain(kd.sample_dpm_2_ancestral), 'use = "dpm2_ancestral"'),
        ("dpmpp_2m_sde", plain(kd.sample_dpmpp_2m_sde, noise_sampler=noise()), 'use = "sde_dpm_solver_pp"'),
        ("dpmpp_3m_sde", plain(kd.sample_dpmpp_3m_sde, noise_sampler=noise()), 'use = "sde_dpm_solver_pp"\nform = "3m"'),
    ]
    spreads("k-diffusion, with noise", rows, dtk, run, grid, lambda n: math.sqrt(most**2 + 0.09))


def diffusers(dtk):
    try:
        import diffusers as df
    except ImportError as missing:
        print(f"diffusers is not installed here ({missing}): skipped.")
        return
    common = {"num_train_timesteps": 1000, "beta_start": 1e-4, "beta_end": 0.02, "beta_schedule": "linear"}
    law = mixture

    def run(make, n, start):
        """start is x/α at the first time; so is what comes back, where α = 1."""
        torch.set_default_dtype(torch.float32)  # their own tables are of that; x stays float64
        try:
            return walked(make(), n, start)
        finally:
            torch.set_default_dtype(torch.float64)

    def walked(scheduler, n, start):
        scheduler.set_timesteps(n)
        by_sigma = float(scheduler.init_noise_sigma) != 1
        x = start if by_sigma else start * float(alpha_bar[int(scheduler.timesteps[0])]) ** 0.5
        x = x[:, None]  # some of them want channels
        for t in scheduler.timesteps:
            seen = scheduler.scale_model_input(x, t)
            sigma = float(scheduler.sigmas[scheduler.step_index]) if by_sigma else float(ratios[int(t)])
            a = 1 / math.sqrt(1 + sigma**2)
            eps = (seen / a - denoised(seen[:, 0] / a, sigma, law)[:, None]) / sigma
            x = scheduler.step(eps, t, x).prev_sample
        return x[:, 0]

    grid = lambda n: 'use = "trailing"'
    more = {**common, "timestep_spacing": "trailing"}
    multistep = lambda **fields: lambda: df.DPMSolverMultistepScheduler(**more, final_sigmas_type="zero", **fields)
    unipc = lambda **fields: lambda: df.UniPCMultistepScheduler(**more, final_sigmas_type="zero", **fields)
    rows = [
        ("DDIM", lambda: df.DDIMScheduler(**more, clip_sample=False), 'use = "ddim"'),
        ("DPMSolverMultistep, dpmsolver++ 2", multistep(solver_order=2), 'use = "dpm_solver_pp"\nform = "2m"'),
        ("DPMSolverMultistep, dpmsolver++ 3", multistep(solver_order=3), 'use = "dpm_solver_pp"\nform = "3m"'),
        ("UniPC 2, bh2", unipc(solver_order=2), 'use = "unipc"\norder = 2'),
        ("UniPC 2, bh1", unipc(solver_order=2, solver_type="bh1"), 'use = "unipc"\norder = 2\nform = "bh1"'),
        ("UniPC 3, bh2", unipc(solver_order=3), 'use = "unipc"\norder = 3'),
        ("DEIS 2", lambda: df.DEISMultistepScheduler(**more, solver_order=2), 'use = "deis"\norder = 2'),
        ("DEIS 3", lambda: df.DEISMultistepScheduler(**more, solver_order=3), 'use = "deis"\norder = 3'),
        ("PNDM, skip_prk_steps", lambda: df.PNDMScheduler(**more, skip_prk_steps=True, set_alpha_to_one=True), 'use = "plms"'),
        ("EulerDiscrete", lambda: df.EulerDiscreteScheduler(**more), 'use = "euler"'),
        ("HeunDiscrete", lambda: df.HeunDiscreteScheduler(**more), 'use = "heun"'),
        ("LMSDiscrete", lambda: df.LMSDiscreteScheduler(**more), 'use = "lms"'),
    ]
    levels_of = lambda n: ratios[trailing(n)]
    compare("diffusers", rows, dtk, run, grid, levels_of)
    law = gaussian
    rows = [
        ("DDPM, fixed_small", lambda: df.DDPMScheduler(**more, clip_sample=False), 'use = "ddpm"'),
        ("DDPM, fixed_large", lambda: df.DDPMScheduler(**more, clip_sample=False, variance_type="fixed_large"), 'use = "ddpm"\nvariance = "large"'),
        ("EulerAncestralDiscrete", lambda: df.EulerAncestralDiscreteScheduler(**more), 'use = "euler_ancestral"'),
        ("sde-dpmsolver++ 2", multistep(solver_order=2, algorithm_type="sde-dpmsolver++"), 'use = "sde_dpm_solver_pp"'),
        ("sde-dpmsolver++ 3", multistep(solver_order=3, algorithm_type="sde-dpmsolver++"), 'use = "sde_dpm_solver_pp"\nform = "3m"'),
    ]
    spreads("diffusers, with noise", rows, dtk, run, grid, lambda n: float((ratios[999] ** 2 + 0.09).sqrt()))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dtk", default=Path(__file__).resolve().parent.parent / "build/release/dtk", help="the program")
    peers = {"k-diffusion": k_diffusion, "diffusers": diffusers}
    parser.add_argument("--peer", choices=peers, nargs="*", default=list(peers), help="which; otherwise both")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        dtk = Dtk(given.dtk, folder)
        for peer in given.peer:
            peers[peer](dtk)


if __name__ == "__main__":
    main()
