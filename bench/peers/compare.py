"""Runs every workload in every runner, interleaved, and keeps all times as JSON.

    compare.py RESULTS DATA_FOLDER DAEMON LIMITS RUST [ONLY]

LIMITS and RUST are programs, or texts that begin with "absent:" and tell why there is none. ONLY is
a part of the workloads' names.
"""

import json
import os
import platform
import subprocess
import sys
import threading
import time
from pathlib import Path

import data

HERE = Path(__file__).parent
ROUNDS = 7
SECONDS_OF_A_RUNNER = 3  # for one workload; after it no further round begins
SECONDS_TO_LOAD = 240
# Other programs on the machine, and threads of the runner before that still spin.
PAUSE_SECONDS = 0.02


class Runner:
    """A program of runner.py's protocol. One that ends or hangs is absent from then on."""

    def __init__(self, name, command, environment):
        self.name, self.absent = name, None
        self.version = ""
        if isinstance(command, str):
            self.absent = command.removeprefix("absent:").strip()
            return
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True,
                                        env=environment, cwd=HERE)
        self.errors = []
        threading.Thread(target=self._read_errors, daemon=True).start()
        answer = self._answer(120)
        self.version = answer.get("version", "")
        self.absent = answer.get("absent")

    def _read_errors(self):
        for line in self.process.stderr:
            self.errors = [*self.errors[-5:], line.strip()]

    def _answer(self, seconds):
        timer = threading.Timer(seconds, self.process.kill)
        timer.start()
        line = self.process.stdout.readline()
        late = not timer.is_alive()
        timer.cancel()
        if line:
            return json.loads(line)
        self.process.wait()
        time.sleep(0.1)  # the thread reads the last lines of the program
        words = " ".join(self.errors[-1:])[:200]
        self.absent = f"took more than {seconds} s" if late else f"its program ended: {words}"
        return {"absent": self.absent}

    def ask(self, *words, seconds=SECONDS_TO_LOAD):
        if self.absent:
            return {"absent": self.absent}
        self.process.stdin.write("\t".join(map(str, words)) + "\n")
        self.process.stdin.flush()
        return self._answer(seconds)


def disagreement(check, reference, tolerance):
    """The difference of a result from NumPy's as a text, or None."""
    scale = max(abs(reference[2]), 1e-30)
    error = max(abs(x - y) for x, y in zip(check, reference)) / scale
    return None if error <= tolerance else f"differs from NumPy's result by {error:.1e}"


def measure(workload, runners, folder):
    files = [folder / f"{name}.npy" for name in workload["inputs"]]
    row = dict(workload, ms={}, absent={}, by={})
    ready, checks = [], {}
    for runner in runners:
        answer = runner.ask("load", workload["name"], workload.get("steps", 0),
                            workload.get("calls", 1), *files)
        if "absent" in answer:
            row["absent"][runner.name] = answer["absent"]
            continue
        ready.append(runner)
        checks[runner.name] = answer["check"]
        row["by"][runner.name] = answer.get("by", "")
    reference = checks.get("NumPy") or checks.get("PyTorch") or checks.get("limit")
    for runner in list(ready):
        wrong = disagreement(checks[runner.name], reference, workload.get("tolerance", 1e-4))
        if wrong:
            row["absent"][runner.name] = wrong
            ready.remove(runner)
    for runner in ready:
        row["ms"][runner.name] = []
    for _ in range(ROUNDS):
        for runner in ready:
            times = row["ms"][runner.name]
            if workload.get("calls", 1) * sum(times) > SECONDS_OF_A_RUNNER * 1000:
                continue
            time.sleep(PAUSE_SECONDS)
            answer = runner.ask("time")
            if "absent" in answer:
                row["absent"][runner.name] = answer["absent"]
            else:
                times.append(answer["ms"])
    row["ms"] = {name: times for name, times in row["ms"].items() if times}
    return row


def cpu():
    first = Path("/proc/cpuinfo").read_text().split("\n\n")[0]
    facts = dict(line.split(":", 1) for line in first.split("\n") if ":" in line)
    facts = {key.strip(): value.strip() for key, value in facts.items()}
    flags = facts.get("flags", "").split()
    sets = (("AVX-512", "avx512f"), ("AVX2", "avx2"))
    vectors = next((name for name, flag in sets if flag in flags), "SSE")
    return f"{facts.get('model name', platform.machine())}, {vectors}"


def main(results, folder, daemon, limits, rust, only=""):
    table = json.loads((HERE / "workloads.json").read_text())
    folder = Path(folder)
    data.write_all(table, folder)
    threads = len(os.sched_getaffinity(0))
    count = str(threads)
    environment = dict(os.environ, OMP_NUM_THREADS=count, OPENBLAS_NUM_THREADS=count,
                       MKL_NUM_THREADS=count, RAYON_NUM_THREADS=count, JAX_PLATFORMS="cpu",
                       PYTHONWARNINGS="ignore", TF_CPP_MIN_LOG_LEVEL="3", CUDA_VISIBLE_DEVICES="")
    python = [sys.executable, "-B"]
    program = lambda path: path if path.startswith("absent:") else [path]  # noqa: E731
    runners = [
        Runner("ours", [*python, "ours_runner.py", daemon], environment),
        Runner("limit", program(limits), dict(environment, GOMP_SPINCOUNT="4000")),
        Runner("NumPy", [*python, "numpy_runner.py"], environment),
        Runner("PyTorch", [*python, "torch_runner.py"], environment),
        Runner("JAX", [*python, "jax_runner.py"], environment),
        Runner("Rust", program(rust), environment),
    ]
    rows = []
    for workload in table["workloads"]:
        if only in workload["name"]:
            row = measure(workload, runners, folder)
            fastest = "  ".join(f"{name} {min(times):.3f}" for name, times in row["ms"].items())
            print(f"{row['name']}: {fastest}", file=sys.stderr, flush=True)
            for name, why in row["absent"].items():
                if why != "not written":
                    print(f"    {name}: {why}", file=sys.stderr, flush=True)
            rows.append(row)
    Path(results).write_text(json.dumps({
        "date": time.strftime("%Y-%m-%d"),
        "machine": cpu(),
        "system": platform.freedesktop_os_release().get("PRETTY_NAME", ""),
        "threads": threads,
        "rounds": ROUNDS,
        "versions": {runner.name: runner.version for runner in runners},
        "absent": {runner.name: runner.absent for runner in runners if runner.absent},
        "rows": rows,
    }, indent=1))


if __name__ == "__main__":
    main(*sys.argv[1:])
