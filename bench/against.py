#!/usr/bin/env python3
"""Compares engine_bench of two builds: against.py OLD_BENCH NEW_BENCH HISTORY REV [FILTER]

The builds run in turns, several rounds in one run, and the fastest time of each row counts: other
programs on the machine can only slow one down. Rows that look slower run again, more often, before
they are reported. Ends with status 1 if a row takes more than `SLOWER` times the old one's time.
"""

import datetime
import json
import os
import re
import subprocess
import sys
import tempfile

ROUNDS = 3
ROUNDS_OF_DOUBT = 4
SLOWER = 1.1


def pattern(name):
    """The name as a regular expression of google-benchmark, which knows no other escapes."""
    return re.sub(r"[.^$*+?()\[\]{}|\\]", r"\\\g<0>", name)


def measure(bench, names):
    """Milliseconds of each row of a build, in one run of its engine_bench."""
    with tempfile.NamedTemporaryFile(suffix=".json") as out:
        command = [bench, "--benchmark_enable_random_interleaving=true"]
        if names:
            command.append("--benchmark_filter=^(" + "|".join(map(pattern, names)) + ")/")
        environment = {**os.environ, "GOMP_SPINCOUNT": "4000"}
        subprocess.run(command + [out.name], check=True, stdout=subprocess.DEVNULL, env=environment)
        # With a filter, earlier revisions write a comma after the last row.
        rows = json.loads(re.sub(r",\s*\]\s*$", "]", open(out.name).read()))
        return {row["name"]: row["ours_ms"] for row in rows}


def take_turns(builds, fastest, rounds, names=None):
    for turn in range(rounds):
        # The two builds take turns in running first, so that the caches favour neither.
        for build in builds if turn % 2 == 0 else list(reversed(builds)):
            for name, ms in measure(builds[build], names).items():
                times = fastest.setdefault(name, {})
                times[build] = min(ms, times.get(build, ms))


def main():
    old, new, history, revision = sys.argv[1:5]
    names = sys.argv[5:]
    builds = {"old": old, "new": new}
    fastest = {}
    take_turns(builds, fastest, ROUNDS, names)

    def ratios():
        both = {name: times for name, times in fastest.items() if len(times) == 2}
        return {name: times["new"] / times["old"] for name, times in both.items()}

    doubtful = [name for name, ratio in ratios().items() if ratio > SLOWER]
    if doubtful:
        take_turns(builds, fastest, ROUNDS_OF_DOUBT, doubtful)
    slower = [name for name, ratio in ratios().items() if ratio > SLOWER]

    print(f"{'':34} {'old ms':>10} {'new ms':>10} {'ratio':>7}")
    for name, ratio in ratios().items():
        times = fastest[name]
        mark = "  << slower" if name in slower else ""
        print(f"{name:34} {times['old']:10.3f} {times['new']:10.3f} {ratio:7.2f}{mark}")
    for name in fastest:
        if name not in ratios():
            print(f"{name:34} is in one of the builds only")
    with open(history, "a") as out:
        now = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
        out.write(json.dumps({"time": now, "against": revision, "rows": fastest}) + "\n")
    if not ratios():
        print("no row was measured in both builds")
        return 1
    return 1 if slower else 0


if __name__ == "__main__":
    sys.exit(main())
