"""optuna-dashboard adapted to our studies: cards in reading order, attributes in words, no meaningless digits.

optuna-dashboard lists a study's cards from a set, so their order changes with each start, and shows attributes as one line of
JSON. Here the answers of its server about a study are rewritten on the way to the page; stored data does not change.
"""

import contextlib
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial

from autost_optuna import units
from autost_optuna.front.candidate import Candidate
from autost_optuna.search.baselines import BASELINES
from autost_optuna.search.exact import ExactFront
from autost_optuna.search.search import EXACT
from autost_optuna.search.settings import ATTRIBUTE, Settings
from autost_optuna.search.study import TRAINED
from autost_optuna.storage.artifacts import FIGURES
from autost_optuna.training.record import ACCURACIES, RATES, RECORD, Record

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

    from optuna.artifacts import FileSystemArtifactStore

STUDY = re.compile(r"/api/studies/(\d+)/*")
CANDIDATE = "candidate"
MILLIONS, RATE = "M parameters", "spike rate"  # figures by which the page can sort and plot
FIRST = ("architecture", "measured energy", "test accuracy (%)")  # a page shows six without scrolling
DIGITS = 6
Rows = list[tuple[str, str]]


def dashboard(storage: BaseStorage, artifacts: "FileSystemArtifactStore | None" = None) -> "WSGIApplication":
    """The optuna-dashboard application for a storage, with the files in `artifacts`."""
    from optuna_dashboard import wsgi

    served: WSGIApplication = wsgi(storage, artifact_store=artifacts)

    def answer(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        study = STUDY.fullmatch(environ["PATH_INFO"])
        if study is None or environ["REQUEST_METHOD"] != "GET":
            return served(environ, start_response)
        return [_reworded(served, environ, start_response, lambda page: readable(page, storage, int(study[1])))]

    return answer


def _reworded(
    served: "WSGIApplication",
    environ: "WSGIEnvironment",
    start_response: "StartResponse",
    reword: Callable[[dict[str, Any]], None],
) -> bytes:
    """The response with its JSON reworded; errors and unknown forms stay unchanged."""
    heads: list[tuple[str, list[tuple[str, str]]]] = []

    def keep(status: str, headers: list[tuple[str, str]], exc_info: object = None) -> Callable[[bytes], object]:
        heads.append((status, headers))
        return lambda data: None

    chunks = served(environ, keep)
    try:
        body = b"".join(chunks)
    finally:
        getattr(chunks, "close", lambda: None)()  # required by PEP 3333
    status, headers = heads[-1]
    if status.startswith("200"):
        with contextlib.suppress(KeyError, TypeError, ValueError):
            page = json.loads(body)
            reword(page)
            body = json.dumps(page).encode()
    kept = [(name, value) for name, value in headers if name.lower() != "content-length"]
    start_response(status, [*kept, ("Content-Length", str(len(body)))])
    return body


def readable(page: dict[str, Any], storage: BaseStorage, study_id: int) -> None:
    """Put an answer of optuna-dashboard about a study in order and in words.

    Cards come in the order of FIGURES; cards of other programs come after ours.
    """
    places = {name: place for place, name in enumerate(FIGURES)}
    page["plotly_graph_objects"].sort(key=lambda card: (places.get(card["id"], len(places)), card["id"]))
    page["user_attrs"] = _attributes(page["user_attrs"], storage.get_study_user_attrs(study_id), _of_study)
    stored = {trial.number: trial for trial in storage.get_all_trials(study_id, deepcopy=False)}
    for trial in [*page["trials"], *page["best_trials"]]:
        _reword_trial(trial, stored[trial["number"]])
    page["union_user_attrs"] = _columns(page["union_user_attrs"])


def _reword_trial(trial: dict[str, Any], stored: FrozenTrial) -> None:
    rows = _attributes(trial["user_attrs"], stored.user_attrs, _of_trial)
    trial["user_attrs"] = sorted(rows, key=lambda row: FIRST.index(row["key"]) if row["key"] in FIRST else len(FIRST))
    if "values" in trial:
        trial["values"] = [_rounded(value) for value in trial["values"]]


def _attributes(
    shown: Sequence[Mapping[str, str]],
    stored: Mapping[str, Any],
    reword: Callable[[str, Any], Rows | None],
) -> list[dict[str, str]]:
    """Attributes as the page lists them: ours in words, others unchanged except for digits."""
    rows: Rows = []
    for attribute in shown:
        name, value = attribute["key"], stored.get(attribute["key"])
        ours: Rows | None = None
        with contextlib.suppress(KeyError, TypeError, ValueError):  # from another version: unchanged
            ours = reword(name, value)
        said = str(_rounded(value)) if isinstance(value, float) else attribute["value"]
        rows += [(name, said)] if ours is None else ours
    return [{"key": name, "value": said} for name, said in rows]


def _of_trial(name: str, value: Any) -> Rows | None:
    """One of our attributes of a trial in words; None for others."""
    if name == CANDIDATE:
        return _candidate(Candidate.from_dict(value))
    if name == RECORD:
        return _training(value)
    if name == ACCURACIES:
        return [("validation accuracy after each epoch", ", ".join(units.share(one) for one in value))]
    if name == "test_accuracy":
        return [("test accuracy (%)", f"{100 * value:.2f}")]
    return [] if name in RATES else None


def _candidate(one: Candidate) -> Rows:
    low, high = units.energy(one.spread.low_mj), units.energy(one.spread.high_mj)
    single = "" if low == high else f" ({low} to {high} on single images)"
    return [
        ("architecture", one.architecture.in_words()),
        ("energy", f"{units.energy(one.energy_mj)}{single}, {one.convention}"),
        (MILLIONS, units.significant(one.params / 1e6)),
        (RATE, units.significant(one.mean_rate)),
        ("without spikes", f"{units.energy(one.quantised_mj)} in 8-bit integers"),
        ("rates", one.provenance),
    ]


def _training(record: Mapping[str, Any]) -> Rows:
    one = Record.from_dict({**{name: {} for name in RATES}, **record})
    return [
        ("architecture", one.architecture.in_words()),
        ("measured energy", f"{units.energy(one.energy_mj)} ± {units.energy(one.energy_std_mj)}, {one.convention}"),
        (MILLIONS, units.significant(one.params / 1e6)),
        (RATE, units.significant(one.mean_rate)),
        ("trained for", f"{units.counted(one.epochs, 'epoch')}, {units.duration(one.duration_s)}, {one.machine}"),
        ("checkpoint", one.path),
    ]


def _of_study(name: str, value: Any) -> Rows | None:
    """One of our attributes of a study in words; None for others."""
    if name == ATTRIBUTE:
        return _settings(Settings.from_dict(value))
    if name == BASELINES:
        figures = [f"{units.count(2 * row['macs'], 'FLOPs')}, {units.energy(row['energy_mj'])}" for row in value]
        return [(f"baseline {row['name']}", said) for row, said in zip(value, figures, strict=True)]
    if name == EXACT:
        exact = ExactFront.from_dict(value)
        members = units.counted(len(exact.members), "member")
        return [("exact front", f"{members} of {exact.classes:,} classes, hypervolume {exact.hypervolume:.4f}")]
    if name == TRAINED:
        return [("trained networks of", value["search"]), ("energy convention", value["convention"])]
    return None


def _settings(settings: Settings) -> Rows:
    images = units.images(settings.images, settings.seeds)
    return [
        ("space", f"{settings.space.name}, {settings.space.size:,} architectures"),
        ("task", settings.task.name),
        ("rates", f"{images} of {settings.data}, {units.seeds(settings.seed, settings.seeds)}"),
        ("energy convention", settings.convention.label),
        ("constraints", str(settings.constraints)),
        ("objectives", ", ".join(settings.objectives)),
        ("population", str(settings.population)),
        ("versions", ", ".join(f"{package} {version}" for package, version in settings.versions.items())),
    ]


def _columns(columns: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The columns of the table of trials: those of `_of_trial` replace our attributes."""
    ours = {
        CANDIDATE: ("architecture", "energy", MILLIONS, RATE, "without spikes", "rates"),
        RECORD: ("architecture", "measured energy", MILLIONS, RATE, "trained for", "checkpoint"),
        ACCURACIES: ("validation accuracy after each epoch",),
        "test_accuracy": ("test accuracy (%)",),
        **dict.fromkeys(RATES, ()),
    }
    found: dict[str, bool] = {}
    for column in columns:
        for name in ours.get(column["key"], (column["key"],)):
            found[name] = column["sortable"] if name == column["key"] else name in (MILLIONS, RATE, "test accuracy (%)")
    return [{"key": name, "sortable": sortable} for name, sortable in found.items()]


def _rounded(value: Any) -> Any:
    """A number with DIGITS significant digits; whole numbers, such as FLOPs, stay unchanged."""
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) and not value.is_integer() else value
