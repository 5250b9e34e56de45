"""Writes the files of torch.save that tests/torch_file.cpp reads, and what they hold (PyTorch 2.11, CC0).

    python make.py
"""

import argparse
import collections
import json
import os
import pickle
import zipfile

import torch

here = os.path.dirname(os.path.abspath(__file__))


def save(thing, name, **options):
    torch.save(thing, os.path.join(here, name), **options)


dtypes = [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16,
          torch.int8, torch.uint8, torch.bool, torch.complex64, torch.complex128]
every = {str(dtype).split(".")[1]: (torch.arange(6) % 3).reshape(2, 3).to(dtype) for dtype in dtypes}
every["empty"] = torch.empty(0, 3)
every["scalar"] = torch.tensor(2.5)
save(every, "dtypes.pt")

base = torch.arange(24.0).reshape(4, 6)
save({"base": base, "transposed": base.t(), "column": base[:, 2], "inner": base[1:3, 1:4],
      "expanded": base[0, :1].expand(5)}, "views.pt")

torch.manual_seed(0)
model = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3))
with torch.no_grad():
    for i, parameter in enumerate(model.parameters()):
        parameter.copy_(torch.arange(float(parameter.numel())).reshape(parameter.shape) + 10 * i)
save({"step": 1234, "lr": 0.5, "name": "résumé", "done": True, "nothing": None, "model": model.state_dict(),
      "weights": [torch.nn.Parameter(torch.ones(2)), torch.zeros(1)], 7: torch.full((2,), 7.0),
      "opt": {"state": {0: {"exp_avg": torch.full((3,), 0.25)}}}, "size": torch.Size([2, 3]),
      "args": argparse.Namespace(width=8), "counts": collections.defaultdict(int, a=1), "type": torch.float16},
     "checkpoint.pt")
save(torch.tensor([1.0, 2.0]), "tensor.pt")
save(torch.nn.Linear(2, 2), "module.pt")
save({"w": torch.ones(2)}, "old.pt", _use_new_zipfile_serialization=False)
save({"w": torch.ones(2)}, "protocol4.pt", pickle_protocol=4)
torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), os.path.join(here, "script.pt"))


class Calls:
    """Names a function that Python would call."""

    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


for name, code in {"system": Calls(os.system, "touch /tmp/it-ran"), "eval": Calls(eval, "1"),
                   "getattr": Calls(getattr, "a", "upper")}.items():
    with zipfile.ZipFile(os.path.join(here, f"code_{name}.pt"), "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({"w": code}, protocol=2))
        archive.writestr("archive/version", "3\n")


def values(tensor):
    if tensor.is_complex():
        return [[z.real, z.imag] for z in tensor.flatten().tolist()]
    return [float(v) for v in tensor.flatten().tolist()]


loaded = {}
for name in ["dtypes.pt", "views.pt", "checkpoint.pt", "tensor.pt", "protocol4.pt"]:
    found = {}

    def walk(thing, keys):
        if isinstance(thing, torch.Tensor):
            found[".".join(keys) or "tensor"] = {"shape": list(thing.shape), "dtype": str(thing.dtype).split(".")[1],
                                                 "values": values(thing.detach())}
        elif isinstance(thing, dict):
            for key, value in thing.items():
                walk(value, keys + [str(key)])
        elif isinstance(thing, (list, tuple)):
            for i, value in enumerate(thing):
                walk(value, keys + [str(i)])

    walk(torch.load(os.path.join(here, name), weights_only=False), [])
    loaded[name] = found
with open(os.path.join(here, "values.json"), "w") as file:
    json.dump(loaded, file, indent=1, sort_keys=True)
