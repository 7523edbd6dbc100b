"""What the benchmark of the sliding window counts as a miss, and which misses it puts down to the machine."""

from __future__ import annotations

from benchmarks.sliding import verdict


def test_misses_and_their_excuses() -> None:
    """Steps of 0.2 s with a hop of 0.5 s: 0.3 s to spare, which only the second sleep of the machine takes up."""
    steps = [(float(k), k + 0.2, k + 0.5) for k in range(9)]
    assert verdict(steps, [(0.0, 0.1)])["misses"] == 0
    steps[3], steps[6] = (3.0, 3.6, 3.5), (6.0, 6.6, 6.5)
    found = verdict(steps, [(3.0, 3.2), (6.1, 6.45)])
    assert (found["steps"], found["misses"], found["excused"]) == (9, 2, 1)
    assert abs(found["p50_ms"] - 200) < 1e-6 and abs(found["watcher_longest_ms"] - 350) < 1e-6
    late_start = [(0.45, 0.65, 0.5), *steps[4:6]]
    assert verdict(late_start, [])["misses"] == 1 and verdict(late_start, [])["excused"] == 0
