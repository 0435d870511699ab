#!/usr/bin/env python3
"""Checks the structure of the source tree; `./run lint` runs this script.

- Layers and folders include only layers and folders below them.
- A source that is compiled once for several instruction sets sees no header whose inline functions
  differ between instruction sets.
- Files and lines have a length that a person can read.
- Another file builds, includes or names each file.

The script prints each breach as `path: text`, and ends with status 1 if there is one.
"""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# A layer includes itself and the layers of its list.
LAYERS = {
    "base": [],
    "tensor": ["base"],
    "files": ["base", "tensor"],
    "data": ["base", "tensor", "files"],
    "ops": ["base", "tensor"],
    "kernel": ["base", "tensor", "ops"],
    "wire": ["base"],
    "engine": ["base", "tensor", "files", "data", "ops", "kernel", "wire"],
    "net": ["base", "wire", "engine"],
    "sandbox": ["base"],
    "http": ["base", "wire", "engine", "net"],
    "ctl": ["base", "tensor", "files", "wire", "net"],
}

# A folder includes itself and folders of a lower rank. "" is the face of `ops`: the form of an op.
OPS_RANKS = {
    "support": 1,
    "pass": 2,
    "": 3,
    "elementwise": 4,
    "cast": 5,
    "sort": 5,
    "index": 6,
    "linalg": 6,
    "reduce": 6,
    "window": 7,
    "fourier": 8,
    "layout": 8,
    "fold": 8,
    "product": 8,
}
ENGINE_RANKS = {"planner": 1, "executor": 2, "session": 3}

# The only headers of the second layer that the first one may include. `context.hpp` has a member of
# `isa.hpp`: which passes are compiled.
FACES = {
    ("engine", "ops"): re.compile(
        r"ops/(op|catalogue)\.hpp|ops/(pass|cast)/.*|ops/fold/fold\.hpp|ops/layout/slice\.hpp"
        r"|ops/support/(context|isa)\.hpp"
    ),
    ("engine", "kernel"): re.compile(r"kernel/(check|interpret|native/compiler|native/llvm)\.hpp"),
    ("kernel", "ops"): re.compile(
        r"ops/op\.hpp|ops/pass/pass\.hpp|ops/pass/compile/(code_memory|status)\.hpp"
        r"|ops/support/context\.hpp"
    ),
    ("net", "engine"): re.compile(r"engine/session/session\.hpp"),
    ("http", "engine"): re.compile(r"engine/session/session\.hpp"),
    ("http", "net"): re.compile(r"net/(address|listener)\.hpp"),
    ("ctl", "net"): re.compile(r"net/address\.hpp"),
}

LINES_MAX = 600
COLUMNS_MAX = {"code": 100, "text": 120}
CODE = {".cpp", ".hpp", ".ex", ".exs", ".py", ".sh", ".cmake", ".rs"}
# A tool or a folder's build finds these files, without their names.
FOUND_BY_CONVENTION = re.compile(
    r"(client_ex/[^/]+|docker/example)/(lib|test|mix\.exs|\.formatter\.exs)|"
    r"tests/golden/families/|"
    r"client_ex/outrigger/examples/rain/|client_ex/outrigger_nx/guides/|bench/rust/src/|"
    r"(^|/)(CMakeLists\.txt|__init__\.py|main\.cpp|README\.md|SECURITY\.md|CONTRIBUTING\.md)$|"
    r"^(\.github|\.ci|\.devcontainer)/"
)

breaches = []


def breach(path, text):
    breaches.append(f"{path}: {text}")


def tracked():
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, check=True, capture_output=True, text=True,
    ).stdout.split("\n")
    return [path for path in listed if path and (ROOT / path).is_file()]


def includes(path):
    return re.findall(r'^\s*#include "([^"]+)"', (ROOT / path).read_text(), flags=re.M)


def folder(path):
    """`ops/pass/compile/x.hpp` → ("ops", "pass")."""
    parts = path.split("/")
    return parts[0], parts[1] if len(parts) > 2 else ""


def check_layers(files):
    for path in files:
        if not path.startswith("server/") or path.count("/") < 2 or not path.endswith("pp"):
            continue
        layer, own = folder(path.removeprefix("server/"))
        for included in includes(path):
            other, sub = folder(included)
            if other not in LAYERS:
                breach(path, f'includes "{included}", which names no layer')
            elif other == layer:
                ranks = {"ops": OPS_RANKS, "engine": ENGINE_RANKS}.get(layer)
                # The face's sources gather the families: only its headers have a rank.
                gathers = layer == "ops" and own == "" and path.endswith(".cpp")
                if ranks and own != sub and not gathers and ranks[sub] >= ranks[own]:
                    breach(path, f'includes "{included}": {sub or layer} is not below {own}')
            elif other not in LAYERS[layer]:
                breach(path, f'includes "{included}": {layer} does not know {other}')
            elif (layer, other) in FACES and not FACES[layer, other].fullmatch(included):
                breach(path, f'includes "{included}", which is no face of {other}')


def check_vector_headers():
    """No inline function that differs between instruction sets in objects that libraries share."""
    listed = (ROOT / "server/ops/CMakeLists.txt").read_text()
    shared = re.findall(r"set\(OPS_(?:NARROW|BRIEF|COMMON)_SOURCES(.*?)\)", listed, flags=re.S)
    for source in " ".join(shared).split():
        seen, waiting = set(), [f"ops/{source}"]
        while waiting:
            name = waiting.pop()
            if name in seen or not (ROOT / "server" / name).is_file():
                continue
            seen.add(name)
            text = (ROOT / "server" / name).read_text()
            found = re.search(r"#include <(?:Eigen|unsupported/Eigen)|\b__AVX\w*", text)
            if name == "ops/support/simd.hpp" or (found and name != "ops/support/isa.cpp"):
                breach(f"server/ops/{source}", f"is compiled once, but sees {name}")
            waiting += includes(f"server/{name}")


def check_lengths(files):
    for path in files:
        suffix = Path(path).suffix
        if suffix not in CODE | {".md", ""} and Path(path).name != "CMakeLists.txt":
            continue
        text = (ROOT / path).read_text(errors="replace")
        # A script without a suffix tells its interpreter.
        if suffix == "" and not text.startswith("#!"):
            continue
        kind = "text" if suffix == ".md" else "code"
        lines = text.split("\n")
        if len(lines) > LINES_MAX and path != "docs/SUPPORT.md":
            breach(path, f"has {len(lines)} lines, {LINES_MAX} are the limit")
        for number, line in enumerate(lines, 1):
            # A row of a table and a link have no place for a line break.
            limit = COLUMNS_MAX[kind]
            if len(line) > limit and not re.match(r"\s*\||.*https?://\S{40}", line):
                breach(f"{path}:{number}", f"has {len(line)} columns, {limit} are the limit")


def check_orphans(files):
    texts = {}
    for path in files:
        if Path(path).suffix in CODE | {".md", ".txt", ".json", ".yml", ".livemd"} or path == "run":
            texts[path] = (ROOT / path).read_text(errors="replace")
    for path in files:
        suffix = Path(path).suffix
        if suffix not in CODE | {".md", ".livemd"} or FOUND_BY_CONVENTION.search(path):
            continue
        name = Path(path).name
        stem = name.removesuffix(".py") if suffix == ".py" else name
        named = re.compile(rf"(?<![\w-]){re.escape(stem)}(?![\w-])")
        # `in` is many times as fast as the expression, and rules out most texts.
        if not any(stem in text and named.search(text)
                   for other, text in texts.items() if other != path):
            breach(path, "is built, included and named by no other file")


def main():
    files = tracked()
    check_layers(files)
    check_vector_headers()
    check_lengths(files)
    check_orphans(files)
    for text in breaches:
        print(text)
    print(f"{len(breaches)} breaches of the walls in {len(files)} files")
    return 1 if breaches else 0


if __name__ == "__main__":
    sys.exit(main())
