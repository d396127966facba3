"""Time a table of rates against measured evaluation: the table, energies in batches, and whole searches of `small`.

    python studies/bench/bench_table.py --data-root DIR [--measured 60] [--batch 1000000] [--trials 1000 20000] [--seed 0]

Torch has one thread. In one process, on CIFAR-10 images:

    table      seconds that the table takes
    measured   networks per second by measured evaluation of random networks, as in a search, with all that it reuses
    batch      networks per second as arrays: FLOPs, parameters and energy
    one        networks per second by the table, one by one, as in a search
    searches   for each number of trials, seconds of a search on a journal, without the table and the closing measurement

`ratio_batch` = batch / measured, `ratio_one` = one / measured. `largest_difference` is that of energies of the batch from
those of the same networks one by one, relative. The last line is one JSON object.
"""

import argparse
import json
import os
import platform
import random
import tempfile
import time
from pathlib import Path

import optuna
import torch

from autost_optuna import Objective, Space, Task
from autost_optuna.search.outlay import Outlays
from autost_optuna.search.runner import RunCallbacks, run
from autost_optuna.search.settings import Plan
from autost_optuna.search.study import create

ONE_BY_ONE = 300


def seconds(call, *arguments):
    start = time.perf_counter()
    result = call(*arguments)
    return time.perf_counter() - start, result


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--data-root", type=Path, required=True)
    parser.add_argument("--measured", type=int, default=60)
    parser.add_argument("--batch", type=int, default=1_000_000)
    parser.add_argument("--trials", type=int, nargs="*", default=[1_000, 20_000])
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    torch.set_num_threads(1)
    space, task = Space.load("small"), Task.preset("cifar10")
    data = {"data": "cifar10", "data_root": given.data_root, "seed": given.seed}
    objective = Objective(space, task, **data, rates="table")
    objective.measure(space.smallest)  # what a first measurement alone has to load
    objective.table()
    about = objective.tabled.about
    generator = random.Random(given.seed)
    drawn = [space.draw(generator) for _ in range(given.measured)]
    measured_s, _ = seconds(lambda: [objective.measure(one) for one in drawn])
    outlays = Outlays(space, objective.tabled.table, objective.convention)
    words = outlays.draw(given.batch, given.seed)
    batch_s, columns = min((seconds(outlays.of, words) for _ in range(3)), key=lambda pair: pair[0])
    some = outlays.architectures(words._replace(shapes=words.shapes[:ONE_BY_ONE], letters=words.letters[:ONE_BY_ONE]))
    one_s, ones = seconds(lambda: [objective.evaluate(one) for one in some])
    searches = {}
    for trials in given.trials:
        with tempfile.TemporaryDirectory() as folder:
            plan = Plan(space, task, **data, rates="table")
            search = create("bench", Path(folder) / "autost.journal", plan)
            done = []  # without the closing measurement, which stops at once
            callbacks = RunCallbacks(on_trial=done.append, stopped=lambda done=done, trials=trials: len(done) == trials)
            searches[str(trials)] = round(run(search, trials=trials, callbacks=callbacks).duration_s, 1)
        print(f"{trials:,} trials: {searches[str(trials)]} s", flush=True)
    measured, batch, one = given.measured / measured_s, given.batch / batch_s, len(some) / one_s
    result = {
        "space": "small",
        "seed": given.seed,
        "table_s": round(about.seconds, 2),
        "parts": about.check.entries,
        "measured": round(measured, 2),
        "batch": round(batch),
        "one": round(one),
        "ratio_batch": round(batch / measured),
        "ratio_one": round(one / measured, 1),
        "largest_difference": max(
            abs(float(energy) / network.energy_mj - 1) for energy, network in zip(columns.energy_mj, ones, strict=False)
        ),
        "searches_s": searches,
        "torch": torch.__version__,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, one thread",
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
