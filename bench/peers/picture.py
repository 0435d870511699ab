"""Draws a results file: picture.py RESULTS PICTURE. Each row's times as multiples of ours."""

import json
import sys
from pathlib import Path

import matplotlib

matplotlib.use("agg")
from matplotlib import pyplot  # noqa: E402

import goals  # noqa: E402

STYLES = {"limit": ("#222222", "|", 90), "NumPy": ("#4d77cf", "o", 26),
          "PyTorch": ("#ee4c2c", "s", 24), "JAX": ("#9c27b0", "^", 28),
          "Rust": ("#b7410e", "D", 20)}
NEAREST, FARTHEST = 0.1, 40


def main(source, target):
    results = json.loads(Path(source).read_text())
    rows = [row for row in results["rows"] if "ours" in row["ms"]][::-1]
    figure, axes = pyplot.subplots(figsize=(9, 0.21 * len(rows) + 1.4))
    axes.axvspan(0.02, 1, color="#f6e3e0", zorder=0)
    axes.axvline(1, color="#1b7f4b", linewidth=2, zorder=1)
    for name, (color, marker, size) in STYLES.items():
        points = []
        for y, row in enumerate(rows):
            times = goals.best(row)
            if name in times:
                ratio = times[name] / times["ours"]
                points.append((min(max(ratio, NEAREST), FARTHEST), y))
        if points:
            label = "limit (C++ by hand)" if name == "limit" else name
            axes.scatter(*zip(*points), s=size, c=color, marker=marker, label=label, zorder=3,
                         linewidths=2 if marker == "|" else 0)
    axes.set_xscale("log")
    axes.set_xlim(NEAREST * 0.9, FARTHEST * 1.1)
    ticks = [NEAREST, 0.2, 0.5, 1, 2, 5, 10, 20, FARTHEST]
    axes.set_xticks(ticks, [f"≤ {NEAREST}", *map(str, ticks[1:-1]), f"≥ {FARTHEST}"])
    axes.minorticks_off()
    axes.set_ylim(-0.8, len(rows) - 0.2)
    axes.set_yticks(range(len(rows)), [row["name"] for row in rows], fontsize=8)
    axes.grid(axis="both", color="#e4e4e4", linewidth=0.6, zorder=0)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.tick_params(length=0)
    axes.set_xlabel("time as a multiple of Outrigger's "
                    "(right of the green line: Outrigger is faster)")
    axes.legend(loc="upper center", bbox_to_anchor=(0.4, 1 + 1.3 / len(rows) * 1.6), ncols=5,
                frameon=False, fontsize=8, handletextpad=0.2)
    figure.tight_layout()
    figure.savefig(target, dpi=110)


if __name__ == "__main__":
    main(*sys.argv[1:])
