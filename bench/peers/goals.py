"""The goal of each row, as ratios of the fastest repetitions within the run."""

LIBRARIES = ("NumPy", "PyTorch", "JAX", "Rust")

# "As fast as" the fastest peer allows for the differences of one loop between runs.
NOISE = 1.03

TEXT = {
    "memory": "as fast as the fastest peer, 85 % of the limit",
    "arithmetic": "as fast as the fastest peer, 1.5x the limit's time",
    "chain": "the same, and 5x NumPy",
    "sort": "3x NumPy",
    "dot": "95 % of the best BLAS",
    "lapack": "1.2x LAPACK's time",
    "while": "10M operations in a second",
    "peer": "as fast as the fastest peer",
}


def best(row):
    return {name: min(times) for name, times in row["ms"].items()}


def fastest_peer(row):
    """(name, ms) or None. A loop written in Rust for just this task is a limit, not a library."""
    times = best(row)
    peers = [(times[name], name) for name in LIBRARIES
             if name in times and row["by"].get(name) != "loop"]
    return min(peers)[::-1] if peers else None


def misses(row):
    """The parts of its goal that the row misses, as texts; None if Outrigger did not run."""
    times = best(row)
    if "ours" not in times:
        return None
    ours, limit, peer, goal = times["ours"], times.get("limit"), fastest_peer(row), row["goal"]
    out = []

    def at_most(factor, other, text):
        if other is not None and ours > factor * other:
            out.append(text)

    if goal in ("memory", "arithmetic", "chain", "peer") and peer:
        at_most(NOISE, peer[1], peer[0])
    if goal == "memory":
        at_most(1 / 0.85, limit, "limit")
    if goal in ("arithmetic", "chain"):
        at_most(1.5, limit, "limit")
    if goal == "chain" and "NumPy" in times:
        at_most(1 / 5, times["NumPy"], "5x NumPy")
    if goal == "sort" and "NumPy" in times:
        at_most(1 / 3, times["NumPy"], "3x NumPy")
    if goal == "dot":
        others = [ms for name, ms in times.items() if name != "ours"]
        at_most(1 / 0.95, min(others, default=None), "95 % of BLAS")
    if goal == "lapack":
        at_most(1.2, limit, "1.2x LAPACK")
    if goal == "while" and row["steps"] * row["ops"] / ours * 1000 < 10e6:
        out.append("10M/s")
    return out
