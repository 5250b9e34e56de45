#!/usr/bin/env python3
"""Small sound files of every format for the fuzzers to begin with: seeds.py FOLDER makes FOLDER/HARNESS/…"""
import base64
import gzip
import json
import pathlib
import struct
import sys
import zipfile
import zlib


def safetensors(tensors, metadata=None, pad=0):
    """Tensors as (name, dtype, shape, bytes)."""
    header, data = {}, b""
    if metadata:
        header["__metadata__"] = metadata
    for name, dtype, shape, values in tensors:
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(values)]}
        data += values
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8 + pad)
    return struct.pack("<Q", len(text)) + text + data


def idx(shape, values):
    return struct.pack(">BBBB", 0, 0, 8, len(shape)) + b"".join(struct.pack(">I", n) for n in shape) + bytes(values)


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width, height, depth, colour, rows, extra=b"", interlace=0):
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + extra + chunk(b"IDAT", zlib.compress(rows))
            + chunk(b"IEND", b""))


# 8 × 8 pixels, grey and baseline, in colour and progressive. Made once with Pillow from a ramp.
GREY_JPEG = base64.b64decode(
    "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAgGBgcGBQgHBwcJCQgKDBQNDAsLDBkSEw8UHRofHh0aHBwgJC4nICIsIxwcKDcpLDAxNDQ0Hyc5PT"
    "gyPC4zNDL/wAALCAAIAAgBAREA/8QAHwAAAQUBAQEBAQEAAAAAAAAAAAECAwQFBgcICQoL/8QAtRAAAgEDAwIEAwUFBAQAAAF9AQIDAAQRBRIh"
    "MUEGE1FhByJxFDKBkaEII0KxwRVS0fAkM2JyggkKFhcYGRolJicoKSo0NTY3ODk6Q0RFRkdISUpTVFVWV1hZWmNkZWZnaGlqc3R1dnd4eXqDhI"
    "WGh4iJipKTlJWWl5iZmqKjpKWmp6ipqrKztLW2t7i5usLDxMXGx8jJytLT1NXW19jZ2uHi4+Tl5ufo6erx8vP09fb3+Pn6/9oACAEBAAA/AOdt"
    "vht0/cfpX//Z")
COLOUR_JPEG = base64.b64decode(
    "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDABALDA4MChAODQ4SERATGCgaGBYWGDEjJR0oOjM9PDkzODdASFxOQERXRTc4UG1RV19iZ2hnPk1xeX"
    "BkeFxlZ2P/2wBDARESEhgVGC8aGi9jQjhCY2NjY2NjY2NjY2NjY2NjY2NjY2NjY2NjY2NjY2NjY2NjY2NjY2NjY2NjY2NjY2NjY2P/wgARCAAI"
    "AAgDASIAAhEBAxEB/8QAFQABAQAAAAAAAAAAAAAAAAAAAAL/xAAUAQEAAAAAAAAAAAAAAAAAAAAA/9oADAMBAAIQAxAAAAGQf//EABYQAQEBAA"
    "AAAAAAAAAAAAAAAAIBEf/aAAgBAQABBQLIX//EABURAQEAAAAAAAAAAAAAAAAAAAAB/9oACAEDAQE/Aa//xAAUEQEAAAAAAAAAAAAAAAAAAAAA"
    "/9oACAECAQE/AX//xAAYEAACAwAAAAAAAAAAAAAAAAAAAREhcf/aAAgBAQAGPwKkow//xAAZEAEAAgMAAAAAAAAAAAAAAAABALERITH/2gAIAQ"
    "EAAT8hOhGzAaG5/9oADAMBAAIAAwAAABAL/8QAFREBAQAAAAAAAAAAAAAAAAAAADH/2gAIAQMBAT8Qp//EABURAQEAAAAAAAAAAAAAAAAAAAAB"
    "/9oACAECAQE/EI//xAAaEAACAgMAAAAAAAAAAAAAAAABEQAhMWGB/9oACAEBAAE/EEs6sFDWH1p//9k=")


def elf(symbols, section=b"dtk2"):
    """A 64-bit library of four sections whose table of symbols points into `section`."""
    names, offsets = b"\0", []
    for symbol in symbols:
        offsets.append(len(names))
        names += symbol + b"\0"
    section_names = b"\0.dynsym\0.dynstr\0" + section + b"\0.shstrtab\0"
    table = b"\0" * 24
    for offset in offsets:
        table += struct.pack("<IBBHQQ", offset, 0x11, 0, 3, 0x1000, 8)
    parts, at, placed = [table, names, b"\0" * 8, section_names], 64, []
    for part in parts:
        placed.append(at)
        at += len(part)

    def header(name, kind, number, link=0, entry=0):
        return struct.pack("<IIQQQQIIQQ", name, kind, 0, 0, placed[number], len(parts[number]), link, 0, 1, entry)

    sections = b"\0" * 64 + header(1, 11, 0, 2, 24) + header(9, 3, 1) + header(17, 1, 2) + header(
        17 + len(section) + 1, 3, 3)
    head = struct.pack("<4sBBBB8sHHIQQQIHHHHHH", b"\x7fELF", 2, 1, 1, 0, b"", 3, 62, 1, 0, 0, at, 0, 64, 0, 0, 64, 5, 4)
    return head + b"".join(parts) + sections


RUN = {"schema": 1, "id": "a", "name": "a", "status": "completed", "seed": 5, "pid": 7, "threads": 1, "device": "cpu",
       "dtk": {"version": "0.1.0", "build": "gcc", "sha256": "00"}, "host": {"name": "h", "cores": 2},
       "plugins": [{"kind": "model", "name": "mlp", "path": "/a/mlp.so", "sha256": "00", "build_id": "t0"}],
       "data": {"sha256": "00"}, "seconds": {"train": 1.5}, "artefacts": {},
       "result": {"samples": 4, "parameters": 9, "metrics": [{"metric": "nll", "value": 1.5, "distance": None,
                                                              "passes": True, "parts": {"a": 1}}]}}
STUDY = {"file": "/a/study.toml", "set": ["train.steps=3"], "threads": 1, "device": None, "accept_rebuilt": False,
         "name": "s", "question": "?", "cells": [{"arm": "a", "seed": 1, "task": "t", "needs": ""}]}
EXPERIMENT = b"""name = "a"
seed = 1
[dataset]
use = "swiss_roll"
[process]
steps = 50
schedule = {use = "cosine", s = 8e-3}
[model]
use = "mlp"
widths = [64, 64]
[train]
steps = 700
lr = 3e-3
[sample]
n = 8
[[metric]]
use = "wasserstein"
"""


def seeds():
    """(harness, name, bytes)"""
    four = struct.pack("<4f", 1, 2, 3, 4)
    yield "safetensors", "two", safetensors([("a", "F32", [2, 2], four), ("b", "I64", [], b"\0" * 8)], {"step": "3"})
    yield "safetensors", "types", safetensors(
        [(name, name, [2], b"\1" * 2 * size) for name, size in
         [("I64", 8), ("F64", 8), ("F32", 4), ("I32", 4), ("BF16", 2), ("F16", 2), ("I16", 2), ("I8", 1), ("U8", 1),
          ("BOOL", 1)]])
    yield "safetensors", "none", safetensors([("empty", "F32", [0, 3], b"")], pad=8)
    yield "plugin", "one", elf([b"dtk_Schedule_cosine__3_0_b12345678_default"])
    yield "plugin", "many", elf([b"dtk_Model_a__1_t12345678", b"x", b"_Z1f"])
    yield "plugin", "old", elf([b"dtk_Schedule_a__2_b12345678"], b"dtk1")
    images, labels = idx([3, 2, 2], range(12)), idx([3], [0, 2, 1])
    for harness in ("gzip", "idx"):
        yield harness, "images", images
        yield harness, "labels", labels
        yield harness, "images.gz", gzip.compress(images, mtime=0)
        yield harness, "labels.gz", gzip.compress(labels, mtime=0)
    yield "gzip", "members.gz", gzip.compress(b"a" * 500, mtime=0) + gzip.compress(b"", mtime=0)
    for number, content in enumerate([RUN, RUN["result"], STUDY, {"step": 3, "train/loss": 0.5}]):
        yield "records", str(number), bytes([number]) + json.dumps(content).encode()
    stages = {"t": RUN["result"], "u": RUN["result"]}
    yield "records", "stages", b"\0" + json.dumps({**RUN, "result": stages}).encode()
    yield "experiment", "plain", EXPERIMENT
    yield "experiment", "stages", EXPERIMENT.replace(b"[dataset]", b"[[stage]]\nname = \"one\"\n[stage.dataset]")
    yield "experiment", "plugins", b"[plugins]\npath = [\"plugins\"]\n" + EXPERIMENT
    yield "experiment", "table_without_name", EXPERIMENT.replace(b"[dataset]", b"[\nseed = 1\n[dataset]")
    yield "experiment", "tables_without_name", EXPERIMENT + b"[[ ="
    yield "experiment", "letters", EXPERIMENT + "\u00e9.\u3001 = \ufefe\U0001f600".encode()
    torch_files = pathlib.Path(__file__).parents[1] / "data" / "torch"
    for path in sorted(torch_files.glob("*.pt")):
        yield "torch_file", path.name, path.read_bytes()
    with zipfile.ZipFile(torch_files / "checkpoint.pt") as archive:
        yield "torch_file", "checkpoint.pkl", archive.read("checkpoint/data.pkl")
    grey = b"".join(b"\0" + bytes(range(y, y + 8)) for y in range(8))
    rgba = b"".join(b"\0" + bytes(range(32)) for _ in range(8))
    yield "image", "grey.png", png(8, 8, 8, 0, grey)
    yield "image", "rgba.png", png(8, 8, 8, 6, rgba)
    yield "image", "key.png", png(8, 8, 8, 0, grey, chunk(b"tRNS", struct.pack(">H", 3)))
    yield "image", "palette.png", png(8, 2, 4, 3, b"\0\x01\x23\x45\x67" * 2, chunk(b"PLTE", bytes(range(48))))
    yield "image", "deep.png", png(4, 8, 16, 0, grey, chunk(b"gAMA", struct.pack(">I", 45455)))
    exif = b"II*\0" + struct.pack("<IHHHIHHI", 8, 1, 0x0112, 3, 1, 6, 0, 0)
    yield "image", "turned.png", png(8, 8, 8, 0, grey, chunk(b"eXIf", exif))
    marker = b"Exif\0\0" + exif
    yield "image", "turned.jpg", GREY_JPEG[:2] + b"\xff\xe1" + struct.pack(">H", len(marker) + 2) + marker + GREY_JPEG[2:]
    yield "image", "grey.jpg", GREY_JPEG
    yield "image", "colour.jpg", COLOUR_JPEG


def main():
    folder = pathlib.Path(sys.argv[1])
    for harness, name, content in seeds():
        (folder / harness).mkdir(parents=True, exist_ok=True)
        (folder / harness / name).write_bytes(content)


if __name__ == "__main__":
    main()
