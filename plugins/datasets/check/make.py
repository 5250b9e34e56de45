#!/usr/bin/env python3
"""Made data that `dtk plugins check` tries the data sets with which read files: python3 make.py writes them here."""
import json
import math
import random
import struct
import zlib
from pathlib import Path

here = Path(__file__).parent
draw = random.Random(1)


def npy(name, kind, shape, numbers):
    header = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}"
    header += " " * (-(len(header) + 11) % 64) + "\n"
    body = struct.pack("<" + {"<f4": "f", "<i8": "q"}[kind] * len(numbers), *numbers)
    (here / name).write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + body)


def idx(name, sizes, numbers):
    (here / name).write_bytes(bytes([0, 0, 8, len(sizes)]) + struct.pack(f">{len(sizes)}I", *sizes) + bytes(numbers))


def png(path, side, grey):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + bytes(grey[y * side:(y + 1) * side]) for y in range(side))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0))
                     + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b""))


def bytes_of(n):
    return [draw.randrange(256) for _ in range(n)]


npy("rows.npy", "<f4", (60, 3), [draw.gauss(0.5, 2) for _ in range(180)])
npy("labels.npy", "<i8", (60,), [i % 3 for i in range(60)])
kinds = ["red", "green", "blue"]
lines = ["a,b,kind"] + [f"{draw.gauss(1, 0.5):.4f},{draw.gauss(-1, 2):.4f},{kinds[i % 3]}" for i in range(60)]
(here / "table.csv").write_text("\n".join(lines) + "\n")
words = ["noise", "sample", "a", "score", "of", "time", "the", "schedule"]
(here / "words.txt").write_text(" ".join(draw.choice(words) for _ in range(600)) + "\n")
for prefix, n in [("train", 90), ("t10k", 30)]:
    idx(f"{prefix}-images-idx3-ubyte", [n, 4, 5], bytes_of(n * 20))
    idx(f"{prefix}-labels-idx1-ubyte", [n], [i % 3 for i in range(n)])
for folder in ["bags", "coats"]:
    for i in range(10):
        png(here / "images" / folder / f"{i}.png", 8, bytes_of(64))

captions = [f"{folder}/{i}.png,\"a grey {folder[:-1]}, number {i}\"" for folder in ["bags", "coats"] for i in range(10)]
(here / "captions.csv").write_text("file,caption\n" + "\n".join(captions) + "\n")
emoji = {}
for i in range(12):
    kind = ["food", "people", "flags"][i % 3]
    unicode = f"1F{600 + i}"
    emoji[f"made_{i}"] = {"unicode": unicode, "name": f"Made {kind} {i}", "category": kind, "keywords": ["made", kind]}
    png(here / "emoji" / "assets" / "png" / f"{unicode}.png", 8, bytes_of(64))
(here / "emoji" / "config").mkdir(parents=True, exist_ok=True)
(here / "emoji" / "config" / "index.json").write_text(json.dumps(emoji, indent=1) + "\n")

draw = random.Random(2)  # of chains


def helix(n):
    """N, CA, C and O of each residue of a straight helix, a little wider or narrower by chance."""
    atoms = [(1.55, -0.46, -0.9), (2.3, 0, 0), (1.68, 0.45, 1.1), (2.05, 0.53, 2.25)]  # radius, angle and height
    turn, rise, wide = math.radians(100), 1.5, draw.uniform(0.98, 1.02)
    return [(r * wide * math.cos(i * turn + angle), r * wide * math.sin(i * turn + angle), i * rise + height)
            for i in range(n) for r, angle, height in atoms]


def structure_db(name, lengths):
    """ProMod3's format, letters by chance."""
    letters = [draw.choice(b"ACDEFGHIKLMNPQRSTVWY") for _ in range(sum(lengths))]
    places = [round(100 * (10 + v)) for n in lengths for atom in helix(n) for v in atom]
    n = len(letters)
    out = struct.pack("<II", 1234, 2) + bytes(0x4D - 8) + struct.pack("<Q", len(lengths))
    first = 0
    for i, length in enumerate(lengths):
        entry = f"9{i:03}".encode()
        out += struct.pack("<I", 4) + entry + struct.pack("<I", 1) + b"A"
        out += struct.pack("<IHH3f", first, length, 1, 0, 0, 0)
        first += length
    for width, data in [(1, bytes(letters)), (24, struct.pack(f"<{12 * n}H", *places)), (4, bytes(4 * n)),
                        (2, bytes(2 * n)), (2, bytes(2 * n)), (1, b"H" * n), (40, bytes(40 * n)), (40, bytes(40 * n))]:
        assert len(data) == width * n
        out += struct.pack("<Q", n) + data
    (here / name).write_bytes(out)


structure_db("structure_db.dat", [12 + i % 5 for i in range(16)])
# Of that, chains.safetensors: dtk data import promod3 --file structure_db.dat --set least=10 --set compactness=10
# --out chains.safetensors


def pdb(path, n):
    amino = ["ALA", "CYS", "ASP", "GLU", "PHE", "GLY", "HIS", "LEU", "LYS", "SER"]
    names = [draw.choice(amino) for _ in range(n)]
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(
        f"ATOM  {k + 1:5} {' ' + 'N CA C O'.split()[k % 4]:4} {names[k // 4]} A{k // 4 + 1:4}    "
        f"{x:8.3f}{y:8.3f}{z:8.3f}  1.00  0.00           {'NCCO'[k % 4]}\n"
        for k, (x, y, z) in enumerate(helix(n))) + "END\n")


for i in range(10):
    pdb(here / "structures" / f"{i}.pdb", 12)
