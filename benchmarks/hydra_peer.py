"""The study of study.toml as one writes it in PyTorch, a cell for each job of Hydra's multirun:

    hydra_peer.py --multirun experiment=RESOLVED.toml schedule=linear,cosine seed=0,1,2

RESOLVED.toml has every field written out, as `dtk run --dry-run` prints it. Each job trains, samples and measures, and writes
result.json into Hydra's folder for it.
"""

import json
import math
import tomllib
from pathlib import Path

import hydra
import torch
from hydra.core.hydra_config import HydraConfig

import peer


def levels(schedule, T):
    """α and σ of the times 0 … T − 1, of dtk's schedules with their default fields."""
    u = torch.arange(T, dtype=torch.float64) / (T - 1)
    if schedule == "linear":
        beta = 1e-4 + (0.02 - 1e-4) * u
    elif schedule == "quadratic":
        beta = (1e-2 + (math.sqrt(0.02) - 1e-2) * u) ** 2
    elif schedule == "cosine":
        return peer.cosine_levels({"steps": T, "schedule": {"s": 0.008, "beta_max": 0.999}})
    else:
        at = torch.sigmoid(-(torch.arange(T + 1, dtype=torch.float64) / T * 6 - 3))
        f = (at - at[-1]) / (at[0] - at[-1])
        beta = (1 - f[1:] / f[:-1]).clamp(max=0.999)
    alpha_bar = (1 - beta).cumprod(0)
    return alpha_bar.sqrt(), (1 - alpha_bar).sqrt()


def sliced_wasserstein(x, y, directions=128):
    v = torch.randn(2, directions, dtype=torch.float64)
    v /= v.norm(dim=0)
    return ((x.double() @ v).sort(0)[0] - (y.double() @ v).sort(0)[0]).abs().mean().item()


def nll(x, data):
    laws = [torch.distributions.MultivariateNormal(m.double(), scale_tril=f.double()) for m, f in zip(data.means, data.factor)]
    terms = torch.stack([law.log_prob(x.double()) + w.double().log() for law, w in zip(laws, data.weights)])
    return -terms.logsumexp(0).mean().item()


def true_floor(data, n, repeats=16):
    """The sliced distance between all pairs of true sets, as dtk's metric has it."""
    sets = [data.batch(n) for _ in range(repeats)]
    v = torch.randn(2, 128, dtype=torch.float64)
    shadows = [(s.double() @ (v / v.norm(dim=0))).t().contiguous().sort(1)[0] for s in sets]
    pairs = [(a - b).abs().mean() for i, a in enumerate(shadows) for b in shadows[:i]]
    return torch.stack(pairs).mean().item()


@hydra.main(version_base=None, config_path=None)
def main(job):
    c = tomllib.loads(Path(hydra.utils.to_absolute_path(job.experiment)).read_text())
    torch.manual_seed(job.seed)
    torch.set_num_threads(job.threads)
    c["process"]["schedule"] = {"use": "cosine", "s": 0.008, "beta_max": 0.999}  # what Setting knows; replaced below
    setting = peer.Setting(c, "contiguous")
    setting.alpha, setting.sigma = levels(job.schedule, c["process"]["steps"])
    trained = peer.train(setting, peer.training(c))
    T, steps, n = c["process"]["steps"], c["sampler"]["steps"], c["sample"]["n"]
    with torch.no_grad():
        samples = peer.ddim(setting, torch.randn(n, 2), [round(T - i * T / steps) - 1 for i in range(steps)])
        result = {
            "loss": trained["loss"],
            "sliced_wasserstein": sliced_wasserstein(samples, setting.data.batch(n)),
            "floor": true_floor(setting.data, n),
            "nll": nll(samples, setting.data),
        }
    (Path(HydraConfig.get().runtime.output_dir) / "result.json").write_text(json.dumps(result))


main()
