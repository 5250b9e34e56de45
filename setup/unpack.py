"""Unpacks of Python wheels what a C++ program needs: unpack.py FOLDER WHEEL..."""

import os
import shutil
import sys
import zipfile

WANTED = ("torch/lib/", "torch/include/", "torch/share/", "torch/version.py", "nvidia/")
UNWANTED = ("torch/lib/libtorch_python", "torch/lib/libshm")


def wanted(name):
    if name.endswith("/"):
        return False
    # A wheel's .dist-info holds its licences and METADATA.
    return ".dist-info/" in name or (name.startswith(WANTED) and not name.startswith(UNWANTED))


def unpack(wheel, folder):
    with zipfile.ZipFile(wheel) as archive:
        for name in filter(wanted, archive.namelist()):
            path = os.path.join(folder, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            # A file gets its name last: one that is there is whole.
            with archive.open(name) as source, open(path + ".part", "wb") as target:
                shutil.copyfileobj(source, target, 1 << 20)
            os.replace(path + ".part", path)


if __name__ == "__main__":
    for wheel in sys.argv[2:]:
        unpack(wheel, sys.argv[1])
