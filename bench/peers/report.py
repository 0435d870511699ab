"""Prints the table of a results file; with a second argument also puts it into that Markdown file,
between the lines `<!-- table -->` and `<!-- end of table -->`."""

import json
import sys
from pathlib import Path

import goals

COLUMNS = ("ours", "limit", *goals.LIBRARIES)


def number(ms):
    return f"{ms:.3f}" if ms < 10 else f"{ms:.1f}" if ms < 1000 else f"{ms:.0f}"


def lines(results):
    yield ["workload", *COLUMNS, "peer", "limit", "goal", "missed"]
    for row in results["rows"]:
        times = goals.best(row)
        cells = []
        for name in COLUMNS:
            mark = "*" if row["by"].get(name) == "loop" else ""
            cells.append(number(times[name]) + mark if name in times else "–")
        peer, ours = goals.fastest_peer(row), times.get("ours")
        to_peer = f"{ours / peer[1]:.2f}" if ours and peer else "–"
        to_limit = f"{ours / times['limit']:.2f}" if ours and "limit" in times else "–"
        missed = goals.misses(row)
        verdict = "did not run" if missed is None else ", ".join(missed)
        yield [row["name"], *cells, to_peer, to_limit, row["goal"], verdict]


def head(results):
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items()
                         if version and name != "ours")
    return (f"{results['date']}, {results['machine']}, {results['threads']} threads, "
            f"{results['system']}; ours: {results['versions']['ours']}; {versions}. "
            f"ms of the fastest of up to {results['rounds']} interleaved repetitions.")


def count(results):
    rows = [goals.misses(row) for row in results["rows"]]
    return f"{sum(row == [] for row in rows)} of {len(rows)} rows reach their goal."


def absences(results):
    for name, why in results["absent"].items():
        yield f"{name}: absent: {why}"
    for row in results["rows"]:
        for name, why in row["absent"].items():
            if why != "not written" and name not in results["absent"]:
                yield f"{row['name']}: {name} absent: {why}"


def text(results):
    table = list(lines(results))
    widths = [max(len(line[i]) for line in table) for i in range(len(table[0]))]
    for line in table:
        cells = [cell.ljust(w) if i in (0, len(line) - 1) else cell.rjust(w)
                 for i, (cell, w) in enumerate(zip(line, widths))]
        yield "  ".join(cells).rstrip()


def markdown(results):
    table = list(lines(results))
    yield head(results)
    yield ""
    yield "| " + " | ".join(table[0]) + " |"
    yield "|---|" + "--:|" * 8 + "---|---|"
    for line in table[1:]:
        name = line[0].replace("*", "\\*")
        cells = [cell.replace("*", "\\*") for cell in line[1:]]
        yield f"| {name} | " + " | ".join(cells) + " |"
    yield ""
    yield count(results)
    for line in absences(results):
        yield f"- {line}"


def main(path, document=None):
    results = json.loads(Path(path).read_text())
    print(head(results), *text(results), "", count(results), *absences(results), sep="\n")
    if document:
        before, rest = Path(document).read_text().split("<!-- table -->\n")
        after = rest.split("<!-- end of table -->")[1]
        body = "\n".join(markdown(results))
        Path(document).write_text(f"{before}<!-- table -->\n{body}\n<!-- end of table -->{after}")


if __name__ == "__main__":
    main(*sys.argv[1:])
