"""Time a search by one process with torch's default threads, by one with a single thread, and by workers.

    python studies/bench/bench_workers.py [--trials 200] [--rounds 5] [--workers 2] [--seed 0]

Each measurement is a fresh process and a fresh study of `small` on digits, on a journal. In a round each way is
measured once; ratios are taken within a round, and the median over rounds is given with the least and the most. A
measurement waits for a quiet machine, and is repeated where others used more than a tenth of a core beside it: `others`
has what they used beside those that count, and `disturbed` the repeated ones. `steady` counts from the end of the first
trial to that of the last, `whole` from the start of the run, with the start of the workers. `command` is the time of
`autost-optuna study run` with its imports, measured once a round for each way. The last line is one JSON object.
"""

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from autost_optuna.search.runner import Resources, RunCallbacks
from autost_optuna.search.settings import Plan

QUIET = 0.1  # cores
TRIES = 5


def measure(workers, trials, seed):
    """Trials a second of one run, in this process."""
    import optuna

    from autost_optuna.network.task import Task
    from autost_optuna.search.runner import run
    from autost_optuna.search.study import create
    from autost_optuna.space.space import Space

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    ends = []
    with tempfile.TemporaryDirectory() as folder:
        storage = str(Path(folder) / "bench.journal")
        search = create("bench", storage, Plan(space=Space.load("small"), task=Task.preset("digits"), seed=seed))
        outcome = run(
            search,
            trials=trials,
            resources=Resources(workers=workers),
            callbacks=RunCallbacks(on_trial=lambda state: ends.append(state.duration_s)),
        )
        depths = [candidate.architecture.depth for candidate in search.candidates()]
    assert outcome.done == trials
    return {
        "steady": (trials - 1) / (ends[-1] - ends[0]),
        "whole": trials / outcome.duration_s,
        "mean_depth": statistics.fmean(depths),
        "served": served(),
    }


def served():
    """Core seconds of the server that workers are forked from, and of the workers: no child of ours waits for them."""
    seconds = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()
            if int(fields[1]) == os.getpid() and "forkserver" in (stat.parent / "cmdline").read_text():
                seconds += sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
    return seconds


def command(workers, trials, seed, environment):
    """Seconds of one `autost-optuna study run`."""
    with tempfile.TemporaryDirectory() as folder:
        program = [sys.executable, "-m", "autost_optuna", "study"]
        made = ["--space", "small", "--task", "digits", "--seed", str(seed)]
        subprocess.run([*program, "create", "bench", *made], cwd=folder, check=True, capture_output=True)
        start = time.monotonic()
        ran = [*program, "run", "bench", "--trials", str(trials), "--workers", str(workers)]
        subprocess.run(ran, cwd=folder, env=environment, check=True, capture_output=True)
        return time.monotonic() - start


def clock():
    """Seconds, and core seconds that all processes and that our children have used."""
    fields = [int(field) for field in Path("/proc/stat").read_text().split("\n")[0].split()[1:]]
    ours = os.times()
    busy = (sum(fields[:8]) - fields[3] - fields[4]) / os.sysconf("SC_CLK_TCK")
    return time.monotonic(), busy, ours.children_user + ours.children_system


def others_since(start, served=0):
    """Cores that others used since `start`, on average; ours and those that `served` us do not count."""
    seconds, busy, ours = (now - then for now, then in zip(clock(), start, strict=True))
    return (busy - ours - served) / seconds


def quiet():
    """Wait until others leave the machine alone for two seconds, five minutes at most."""
    for _ in range(150):
        start = clock()
        time.sleep(2)
        if others_since(start) < QUIET:
            return


def median(values):
    values = list(values)
    return {"median": statistics.median(values), "least": min(values), "most": max(values)}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--measure", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options.measure, options.trials, options.seed)))
        return
    ways = {"default_threads": (1, {}), "one_thread": (1, {"OMP_NUM_THREADS": "1"}), "workers": (options.workers, {})}
    plain = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    plain["GOMP_SPINCOUNT"] = "10000"  # as the command line sets it
    rounds, disturbed = [], []
    for number in range(options.rounds):
        found = {}
        for way, (workers, environment) in ways.items():
            words = [
                sys.executable,
                __file__,
                "--measure",
                workers,
                "--trials",
                options.trials,
                "--seed",
                options.seed,
            ]
            tries = []
            while len(tries) < TRIES and not any(made["others"] < QUIET for made in tries):
                quiet()
                start = clock()
                result = subprocess.run(
                    list(map(str, words)), env={**plain, **environment}, check=True, capture_output=True, text=True
                )
                made = json.loads(result.stdout.splitlines()[-1])
                tries.append({**made, "others": others_since(start, made["served"])})
            tries.sort(key=lambda made: made["others"])
            command_s = command(workers, options.trials, options.seed, {**plain, **environment})
            found[way] = {**tries[0], "command_s": command_s}
            disturbed += [{"way": way, "others": made["others"], "steady": made["steady"]} for made in tries[1:]]
        rounds.append(found)
        print(f"round {number}: {found}", flush=True)
    result = {
        "benchmark": "workers",
        "workers": options.workers,
        "trials": options.trials,
        "rounds": options.rounds,
        "trials_a_second": {way: median(found[way]["steady"] for found in rounds) for way in ways},
        "over_default_threads": median(f["workers"]["steady"] / f["default_threads"]["steady"] for f in rounds),
        "over_one_thread": median(f["workers"]["steady"] / f["one_thread"]["steady"] for f in rounds),
        "one_thread_over_default": median(f["one_thread"]["steady"] / f["default_threads"]["steady"] for f in rounds),
        "whole_over_default_threads": median(f["workers"]["whole"] / f["default_threads"]["whole"] for f in rounds),
        "command_over_default_threads": median(
            f["default_threads"]["command_s"] / f["workers"]["command_s"] for f in rounds
        ),
        "mean_depth": {way: statistics.fmean(found[way]["mean_depth"] for found in rounds) for way in ways},
        "others": {way: median(found[way]["others"] for found in rounds) for way in ways},
        "disturbed": disturbed,
        "cores": os.cpu_count(),
        "seed": options.seed,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
