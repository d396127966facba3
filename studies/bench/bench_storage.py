"""What a storage costs a trial, without evaluation, and what a copy costs.

    python studies/bench/bench_storage.py [--trials 500 5000] [--slow 500] [--copied 20000] [--few 1000] [--postgresql URL]

A trial of `small` is asked for, suggested, given its candidate and told, as a run does it; `ms_a_trial` is the mean, at each
number of trials; above `--slow` only in memory and on the journal. `share` is the journal's part in a trial of a search with
evaluation: `--evaluation` is its mean in ms, of bench_search.py. `copy` is the time of `study copy` from a journal, and
`ratio` that of Optuna's own `copy_study` over it, both on `--few` trials. The last line is one JSON object.
"""

import argparse
import contextlib
import json
import platform
import socket
import subprocess
import sys
import tempfile
import time
import uuid

import optuna
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url

from autost_optuna.network.task import Task
from autost_optuna.search.evaluate import evaluate
from autost_optuna.search.sampler import DeclaredNSGAIISampler
from autost_optuna.space.space import Space
from autost_optuna.storage.storage import open_storage
from autost_optuna.storage.transfer import copy_study

SPACE = Space.load("small")
SERVER = (
    "import sys, optuna; from autost_optuna.storage.storage import open_storage;"
    "optuna.storages.run_grpc_proxy_server(open_storage(sys.argv[1], create=True), host='127.0.0.1', port=int(sys.argv[2]))"
)


def search(storage, trials, candidate, name="s"):
    """Mean seconds of a trial without evaluation."""
    sampler = DeclaredNSGAIISampler(SPACE.distributions(), active=SPACE.active, seed=0)
    study = optuna.create_study(study_name=name, storage=storage, sampler=sampler, directions=["maximize", "minimize"])
    start = time.perf_counter()
    for _ in range(trials):
        trial = study.ask()
        architecture = SPACE.suggest(trial)
        trial.set_user_attr("candidate", {**candidate, "architecture": architecture.to_dict()})
        study.tell(
            trial, (float(sum(architecture.hidden_dims)), 1.0 / (1 + architecture.embed_dim * architecture.depth))
        )
    return (time.perf_counter() - start) / trials


@contextlib.contextmanager
def served(journal):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen([sys.executable, "-W", "ignore", "-c", SERVER, journal, str(port)])
    try:
        for _ in range(6):
            with contextlib.suppress(ValueError):
                yield open_storage(f"grpc://127.0.0.1:{port}")
                return
    finally:
        process.kill()
        process.wait()


@contextlib.contextmanager
def database(url):
    name = f"bench_{uuid.uuid4().hex}"
    admin = create_engine(url, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    try:
        yield make_url(url).set(database=name).render_as_string(hide_password=False)
    finally:
        with admin.connect() as connection:
            connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))


@contextlib.contextmanager
def opened(kind, url):
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        if kind == "memory":
            yield optuna.storages.InMemoryStorage()
        elif kind == "journal":
            yield open_storage(f"{folder}/a.journal", create=True, write=True)
        elif kind == "sqlite":
            yield open_storage(f"sqlite:///{folder}/a.db", create=True)
        elif kind == "grpc":
            yield stack.enter_context(served(f"{folder}/a.journal"))
        else:
            yield open_storage(stack.enter_context(database(url)))


def copies(trials, few, candidate, url):
    """Seconds of `study copy` of `trials` from a journal; ratio of Optuna's own copy to it on `few`."""
    result = {}
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        source = f"{folder}/a.journal"
        places = {"sqlite": f"sqlite:///{folder}/b.db"}
        if url:
            places["postgresql"] = stack.enter_context(database(url))
        memory = optuna.storages.InMemoryStorage()
        search(memory, few, candidate)
        found = optuna.load_study(study_name="s", storage=memory).get_trials(deepcopy=False)
        whole = optuna.create_study(study_name="whole", directions=["maximize", "minimize"])
        whole.add_trials((found * (trials // few + 1))[:trials])
        part = optuna.create_study(study_name="part", directions=["maximize", "minimize"])
        part.add_trials(found)
        copy_study(whole, source)
        copy_study(part, source)
        for kind, place in places.items():
            from_journal = {
                name: optuna.load_study(study_name=name, storage=open_storage(source)) for name in ("whole", "part")
            }
            open_storage(place, create=True)
            seconds = {}
            for name in ("whole", "part"):
                start = time.perf_counter()
                copy_study(from_journal[name], place)
                seconds[name] = time.perf_counter() - start
            start = time.perf_counter()
            optuna.copy_study(
                from_study_name="part", from_storage=open_storage(source), to_storage=place, to_study_name="theirs"
            )
            theirs = time.perf_counter() - start
            result[kind] = {
                "trials": trials,
                "seconds": seconds["whole"],
                "ratio": theirs / seconds["part"],
                "few": few,
            }
            print(kind, result[kind], flush=True)
    return result


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--trials", type=int, nargs="+", default=[500, 5000])
    parser.add_argument("--slow", type=int, default=500)
    parser.add_argument("--copied", type=int, default=20_000)
    parser.add_argument("--few", type=int, default=1000)
    parser.add_argument("--evaluation", type=float, default=78.0)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--postgresql", metavar="URL")
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    candidate = measured_candidate()
    kinds = ["memory", "journal", "sqlite", "grpc", *(["postgresql"] if options.postgresql else [])]
    cost = {kind: {} for kind in kinds}
    for trials in options.trials:
        for kind in kinds:
            if trials > options.slow and kind not in ("memory", "journal"):
                continue
            seconds = []
            for _ in range(options.repeats):
                with opened(kind, options.postgresql) as storage:
                    seconds.append(search(storage, trials, candidate))
            cost[kind][str(trials)] = 1e3 * min(seconds)
            print(kind, trials, cost[kind][str(trials)], flush=True)
    first = str(options.trials[0])
    storage_ms = cost["journal"][first] - cost["memory"][first]
    result = {
        "benchmark": "storage",
        "ms_a_trial": cost,
        "ratio_to_memory": {kind: cost[kind][first] / cost["memory"][first] for kind in kinds if first in cost[kind]},
        "share": storage_ms / (cost["journal"][first] + options.evaluation),
        "evaluation_ms": options.evaluation,
        "copy": copies(options.copied, options.few, candidate, options.postgresql),
        "repeats": options.repeats,
        "python": platform.python_version(),
    }
    print(json.dumps(result))


def measured_candidate():
    """What a run writes of a trial."""
    from autost_optuna.data import rate_images
    from autost_optuna.proxies.reuse import InitialRates

    task = Task.preset("cifar10")
    rates = InitialRates(task, rate_images(task).images)
    return evaluate(SPACE.smallest, rates, data="digits").to_dict()


if __name__ == "__main__":
    main()
