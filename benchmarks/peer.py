"""What dtk is compared with: the same networks, training and sampling in PyTorch, eager, as one writes them in Python.

    peer.py train  EXPERIMENT.toml                               steps per second of each interval, and the loss
    peer.py sample EXPERIMENT.toml CHECKPOINT N BATCH            seconds
    peer.py check  EXPERIMENT.toml CHECKPOINT SAMPLES TIME...    largest difference from samples that dtk drew at these times

EXPERIMENT.toml has every field written out, as `dtk run --dry-run` prints it. One line of JSON goes to standard output.
"""

import argparse
import gzip
import json
import math
import re
import time
import tomllib
import warnings
from pathlib import Path

warnings.filterwarnings("ignore", message="Failed to initialize NumPy")

import torch
import torch.nn.functional as F
from torch import nn


class Positions(nn.Module):
    def __init__(self, features, c):
        super().__init__()
        n = features // 2
        self.register_buffer("frequency", c * 1e4 ** (-torch.arange(n, dtype=torch.float64) / max(n - 1, 1)).float(), persistent=False)

    def forward(self, t):
        angle = t[:, None] * self.frequency
        return torch.cat([angle.sin(), angle.cos()], 1)


class Mlp(nn.Module):
    def __init__(self, c, shape, steps):
        super().__init__()
        d = math.prod(shape)
        self.time = Positions(c["time_features"], 1000 / steps)
        widths = [d + c["time_features"]] + c["depth"] * [c["width"]]
        self.depth = c["depth"]
        for i in range(self.depth):
            self.add_module(f"hidden{i}", nn.Linear(widths[i], widths[i + 1]))
        self.out = nn.Linear(c["width"], d)
        nn.init.zeros_(self.out.weight), nn.init.zeros_(self.out.bias)

    def forward(self, x, t):
        h = torch.cat([x, self.time(t)], 1)
        for i in range(self.depth):
            h = F.silu(getattr(self, f"hidden{i}")(h))
        return self.out(h)


class Residual(nn.Module):
    def __init__(self, c, inputs, outputs, embedding, attention=False):
        super().__init__()
        self.norm1 = nn.GroupNorm(c["groups"], inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.time = nn.Linear(embedding, outputs)
        self.norm2 = nn.GroupNorm(c["groups"], outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        nn.init.zeros_(self.conv2.weight), nn.init.zeros_(self.conv2.bias)
        self.skip = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()
        self.attention = SelfAttention(c, outputs) if attention else nn.Identity()

    def forward(self, x, embedding):
        h = self.conv1(F.silu(self.norm1(x)))
        h = h + self.time(embedding)[:, :, None, None]
        h = self.conv2(F.silu(self.norm2(h)))
        return self.attention(self.skip(x) + h)


class SelfAttention(nn.Module):
    def __init__(self, c, channels):
        super().__init__()
        self.heads = c["heads"]
        self.norm = nn.GroupNorm(c["groups"], channels)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.out = nn.Linear(channels, channels)
        nn.init.zeros_(self.out.weight), nn.init.zeros_(self.out.bias)

    def forward(self, x):
        B, C, H, W = x.shape
        pixels = self.norm(x).flatten(2).transpose(1, 2)
        q, k, v = self.qkv(pixels).view(B, H * W, 3, self.heads, C // self.heads).permute(2, 0, 3, 1, 4).unbind()
        mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(B, H * W, C)
        return x + self.out(mixed).transpose(1, 2).reshape(B, C, H, W)


class UNet(nn.Module):
    """Without dropout, classes and self-conditioning."""

    def __init__(self, c, shape, steps):
        super().__init__()
        base, image = c["channels"], shape[0]
        embedding = 4 * base
        sizes = [min(shape[1:]) >> level for level in range(len(c["multipliers"]))]
        self.positions = Positions(base, 1000 / steps)
        self.time1, self.time2 = nn.Linear(base, embedding), nn.Linear(embedding, embedding)
        self.add_module("in", nn.Conv2d(image, base, 3, padding=1))
        self.down, self.up = [], []
        kept, width = [base], base
        for level, multiplier in enumerate(c["multipliers"]):
            for k in range(c["blocks"]):
                self.part(self.down, f"down{level}_{k}", Residual(c, width, base * multiplier, embedding, sizes[level] in c["attention"]))
                width = base * multiplier
                kept.append(width)
            if level + 1 < len(sizes):
                self.part(self.down, f"down{level}_half", nn.Conv2d(width, width, 3, stride=2, padding=1))
                kept.append(width)
        self.middle1 = Residual(c, width, width, embedding)
        self.middle = SelfAttention(c, width)
        self.middle2 = Residual(c, width, width, embedding)
        for level, multiplier in reversed(list(enumerate(c["multipliers"]))):
            for k in range(c["blocks"] + 1):
                self.part(self.up, f"up{level}_{k}", Residual(c, width + kept.pop(), base * multiplier, embedding, sizes[level] in c["attention"]))
                width = base * multiplier
            if level > 0:
                self.part(self.up, f"up{level}_double", nn.Conv2d(width, width, 3, padding=1))
        self.norm = nn.GroupNorm(c["groups"], width)
        self.out = nn.Conv2d(width, image, 3, padding=1)
        nn.init.zeros_(self.out.weight), nn.init.zeros_(self.out.bias)

    def part(self, way, name, module):
        self.add_module(name, module)
        way.append(module)

    def forward(self, x, t):
        embedding = F.silu(self.time2(F.silu(self.time1(self.positions(t)))))
        kept = [getattr(self, "in")(x)]
        for part in self.down:
            kept.append(part(kept[-1]) if isinstance(part, nn.Conv2d) else part(kept[-1], embedding))
        h = self.middle2(self.middle(self.middle1(kept[-1], embedding)), embedding)
        for part in self.up:
            if isinstance(part, nn.Conv2d):
                h = part(F.interpolate(h, scale_factor=2, mode="nearest"))
            else:
                h = part(torch.cat([h, kept.pop()], 1), embedding)
        return self.out(F.silu(self.norm(h)))


class Mixture:
    """dtk's preset gmm2d."""

    shape = (2,)

    def __init__(self):
        self.weights = torch.tensor([0.5, 0.3, 0.2])
        self.means = torch.tensor([[-1.5, 0], [1, 1.5], [1.5, -1.5]])
        covariances = torch.tensor([[[0.2, 0.12], [0.12, 0.3]], [[0.1, -0.05], [-0.05, 0.15]], [[0.4, 0], [0, 0.05]]])
        self.factor = torch.linalg.cholesky(covariances)

    def batch(self, n):
        k = torch.multinomial(self.weights, n, replacement=True)
        return self.means[k] + (self.factor[k] @ torch.randn(n, 2, 1)).squeeze(2)


class Images:
    def __init__(self, c):
        path = Path(c["folder"]) / c["images"]
        content = path.read_bytes() if path.exists() else gzip.open(f"{path}.gz").read()
        n, height, width = (int.from_bytes(content[i : i + 4], "big") for i in (4, 8, 12))
        self.shape = (1, height, width)
        self.pixels = torch.frombuffer(bytearray(content[16:]), dtype=torch.uint8).view(n, *self.shape)

    def batch(self, n):
        index = torch.randint(len(self.pixels), (n,))
        return self.pixels[index].float().mul_(2 / 255).sub_(1)


def cosine_levels(c):
    """α and σ of the times 0 … T − 1."""
    T, s, beta_max = c["steps"], c["schedule"]["s"], c["schedule"]["beta_max"]
    f = [math.cos(math.pi / 2 * (i / T + s) / (1 + s)) ** 2 for i in range(T + 1)]
    alpha_bar = torch.tensor([max(f[i + 1] / f[i], 1 - beta_max) for i in range(T)], dtype=torch.float64).cumprod(0)
    return alpha_bar.sqrt(), (1 - alpha_bar).sqrt()


class Setting:
    """An experiment: its data, its network, its noise levels."""

    def __init__(self, c, layout):
        if c["process"]["schedule"]["use"] != "cosine" or c["sampler"]["use"] != "ddim":
            raise SystemExit("peer.py knows the schedule `cosine` and the sampler `ddim` alone")
        self.c = c
        self.data = Mixture() if c["dataset"]["use"] == "gaussian_mixture" else Images(c["dataset"])
        self.network = {"mlp": Mlp, "unet": UNet}[c["model"]["use"]](c["model"], self.data.shape, c["process"]["steps"])
        self.format = torch.channels_last if layout == "channels_last" else torch.contiguous_format
        if len(self.data.shape) == 3:
            self.network.to(memory_format=self.format)
        self.alpha, self.sigma = cosine_levels(c["process"])
        self.predicts = c["model"]["prediction"]

    def laid(self, x):
        return x.contiguous(memory_format=self.format) if x.dim() == 4 else x

    def load(self, checkpoint):
        """The averages of a dtk checkpoint, which is in the safetensors format."""
        content = Path(checkpoint).read_bytes()
        length = int.from_bytes(content[:8], "little")
        header = json.loads(content[8 : 8 + length])
        average = next(found[0] for name in header if (found := re.match(r"average\.[^/]*/model\.", name)))
        wanted = {}
        for name in self.network.state_dict():
            entry = header[average + re.sub(r"^(down|up)(\d+)_", r"\1\2.", name)]
            begin, end = (8 + length + offset for offset in entry["data_offsets"])
            wanted[name] = torch.frombuffer(bytearray(content[begin:end]), dtype=torch.float32).view(entry["shape"])
        saved = sum(name.startswith("average.") for name in header)
        if saved != len(wanted):
            raise SystemExit(f"the checkpoint holds {saved} tensors, the peer's network {len(wanted)}")
        self.network.load_state_dict(wanted)


def training(c):
    """The fields of [train], and the plugins that training has beside it."""
    if c["optimizer"]["use"] != "adamw" or [one["use"] for one in c["average"]] != ["ema"]:
        raise SystemExit("peer.py knows the optimizer `adamw` and one average `ema` alone")
    return {**c["train"], "optimizer": c["optimizer"], "rate": c["rate"], "average": c["average"][0]}


def learning_rate(c, step):
    warm = min(1, (step + 1) / c["warmup"]) if c["warmup"] > 0 else 1
    if c["rate"]["use"] == "constant":
        return c["lr"] * warm
    along = max(0, step - c["warmup"]) / (c["steps"] - c["warmup"])
    return c["lr"] * warm * 0.5 * (1 + math.cos(math.pi * along))


def train(setting, c):
    network, data = setting.network, setting.data
    parameters = list(network.parameters())
    averages = [p.detach().clone() for p in parameters]
    adam = c["optimizer"]
    optimizer = torch.optim.AdamW(parameters, lr=c["lr"], betas=(adam["beta1"], adam["beta2"]), eps=adam["eps"],
                                  weight_decay=adam["weight_decay"], fused=True)
    alpha, sigma = setting.alpha.float(), setting.sigma.float()
    column = (-1,) + len(data.shape) * (1,)
    bf16 = torch.autocast("cpu", dtype=torch.bfloat16, enabled=c["precision"] == "bf16")
    rates, total = [], torch.zeros(())
    began = time.perf_counter()
    for step in range(c["steps"]):
        x0 = data.batch(c["batch"])
        t = torch.randint(len(alpha), (c["batch"],))
        eps = torch.randn_like(x0)
        a, s = alpha[t].view(column), sigma[t].view(column)
        xt = a * x0 + s * eps
        target = eps if setting.predicts == "eps" else a * eps - s * x0
        with bf16:
            answer = network(setting.laid(xt), t.float())
        loss = F.mse_loss(answer.float(), target)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, c["clip"], foreach=True)
        optimizer.param_groups[0]["lr"] = learning_rate(c, step)
        optimizer.step()
        with torch.no_grad():
            torch._foreach_lerp_(averages, parameters, 1 - min(c["average"]["decay"], (1 + step) / (10 + step)))
            total += loss.detach()
        if (step + 1) % c["log_every"] == 0:
            mean = total.item() / c["log_every"]
            now = time.perf_counter()
            rates.append(c["log_every"] / (now - began))
            total.zero_()
            began = time.perf_counter()
    return {"steps_per_s": rates, "loss": mean}


@torch.inference_mode()
def ddim(setting, x, times):
    alpha, sigma = setting.alpha.tolist() + [1.0], setting.sigma.tolist() + [0.0]  # entry −1: before the first step
    for t, s in zip(times, times[1:] + [-1]):
        answer = setting.network(setting.laid(x), torch.full((len(x),), float(t)))
        if setting.predicts == "eps":
            x0, eps = (x - sigma[t] * answer) / alpha[t], answer
        else:
            x0, eps = alpha[t] * x - sigma[t] * answer, sigma[t] * x + alpha[t] * answer
        x = alpha[s] * x0 + sigma[s] * eps
    return x


def sample(setting, n, batch, times):
    began = time.perf_counter()
    portions = [ddim(setting, torch.randn(batch, *setting.data.shape), times) for _ in range(0, n, batch)]
    samples = torch.cat(portions)[:n].contiguous()
    seconds = time.perf_counter() - began
    return {"seconds": seconds, "finite": samples.isfinite().all().item()}


def dtk_noise(seed, stream, shape):
    """The normal numbers of dtk (core/include/dtk/philox.hpp), to the rounding of their float32: Philox4x32-10, Box and Muller."""
    name = 0xCBF29CE484222325
    for byte in stream.encode():
        name = (name ^ byte) * 0x100000001B3 % 2**64

    def words(block, row):
        c, key = (block, row, 0, name % 2**32), (seed % 2**32, (seed >> 32) ^ (name >> 32))
        for _ in range(10):
            a, b = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
            c = ((b >> 32) ^ c[1] ^ key[0], b % 2**32, (a >> 32) ^ c[3] ^ key[1], a % 2**32)
            key = ((key[0] + 0x9E3779B9) % 2**32, (key[1] + 0xBB67AE85) % 2**32)
        return c

    def pair(radius, angle):
        r = math.sqrt(-2 * math.log((radius + 0.5) / 2**32))
        low = angle << 2 & 0xFFFFFFFF | 2
        y = math.pi / 4 * (low - 2**32 * (low >> 31)) / 2**31
        small, large = r * math.sin(y), r * math.cos(y) * (-1 if angle >> 31 else 1)
        return (small, large) if angle >> 30 & 1 else (large, small)

    size = math.prod(shape[1:])
    rows = []
    for row in range(shape[0]):
        numbers = []
        for block in range((size + 3) // 4):
            w = words(block, row)
            numbers += pair(w[0], w[1]) + pair(w[2], w[3])
        rows.append(numbers[:size])
    return torch.tensor(rows).view(shape)


def check(setting, samples, times):
    content = Path(samples).read_bytes()
    length = int.from_bytes(content[:8], "little")
    shape = json.loads(content[8 : 8 + length])["samples"]["shape"]
    theirs = torch.frombuffer(bytearray(content[8 + length :]), dtype=torch.float32).view(shape)
    ours = ddim(setting, dtk_noise(setting.c["seed"], "sample/prior", shape), times)
    return {"difference": (ours - theirs).abs().max().item(), "largest": theirs.abs().max().item()}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["train", "sample", "check"])
    parser.add_argument("experiment")
    parser.add_argument("rest", nargs="*")
    parser.add_argument("--layout", default="contiguous", choices=["contiguous", "channels_last"])
    arguments = parser.parse_args()
    c = tomllib.loads(Path(arguments.experiment).read_text())
    torch.manual_seed(c["seed"])
    torch.set_num_threads(c["threads"])
    setting = Setting(c, arguments.layout)
    if arguments.what == "train":
        result = train(setting, training(c))
    else:
        checkpoint, *rest = arguments.rest
        setting.load(checkpoint)
        T, steps = c["process"]["steps"], c["sampler"]["steps"]
        if arguments.what == "sample":
            trailing = [round(T - i * T / steps) - 1 for i in range(steps)]
            result = sample(setting, int(rest[0]), int(rest[1]), trailing)
        else:
            result = check(setting, rest[0], [int(t) for t in rest[1:]])
    print(json.dumps(result))


if __name__ == "__main__":
    main()
