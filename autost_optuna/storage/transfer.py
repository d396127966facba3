"""Copy a study to another storage: to SQLite and PostgreSQL in bulk and in one transaction, elsewhere trial by trial."""

import contextlib
import copy
import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeAlias

import optuna
from optuna.distributions import distribution_to_json
from optuna.exceptions import DuplicatedStudyError
from optuna.storages import BaseStorage, RDBStorage
from optuna.storages._rdb import models
from optuna.study._frozen import FrozenStudy
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import Connection, insert, select
from sqlalchemy.exc import IntegrityError

from autost_optuna.storage.artifacts import own_artifacts
from autost_optuna.storage.location import shown
from autost_optuna.storage.storage import open_storage, relational, relational_patience

# The version that the bulk copy was tested with; tables of other versions of Optuna may have other columns.
SCHEMA = "v3.2.0.a"
DIALECTS = ("sqlite", "postgresql")
CHUNK = 10_000

# The rows of one table, with trial numbers instead of identifiers.
Rows: TypeAlias = tuple[Any, Iterable[dict[str, Any]]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Copied:
    """How many trials were copied, and how many of them were running and count as failed in the copy."""

    trials: int
    cut_off: int


def copy_study(
    study: optuna.Study,
    to: str,
    *,
    name: str | None = None,
    on_slow: Callable[[int], None] = lambda trials: None,
) -> Copied:
    """Copy a study to the storage `to`, as `name` if given, completely or not at all. ValueError if that name is taken.

    Numbers, times, values and attributes are kept. Nobody would finish a running trial in the copy: it becomes a failed one,
    because numbers have no gaps. `on_slow` is called with the number of trials before they are copied one by one.
    """
    name = name or study.study_name
    source, backend = study._storage, open_storage(to, create=True, write=True)
    frozen = copy.copy(next(found for found in source.get_all_studies() if found._study_id == study._study_id))
    left_out = own_artifacts(study)  # they depend on the name, so the copy stores its own
    frozen.system_attrs = {key: value for key, value in frozen.system_attrs.items() if key not in left_out}
    origin, database = _tested(source), _tested(backend)
    try:
        if origin is not None and database is not None:
            tables = relational_patience(origin.url).patient(_stored_rows)(origin, frozen._study_id)
            return relational_patience(to).patient(_copy_rows, once=True)(frozen, name, iter(tables), database)
        trials = study.get_trials(deepcopy=False)
        if database is not None:
            return relational_patience(to).patient(_copy_rows, once=True)(frozen, name, _rows_of(trials), database)
        return _copy_one_by_one(frozen, name, trials, backend, on_slow)
    except DuplicatedStudyError:
        raise ValueError(
            f"study {name!r} exists in {shown(to)}; copy it under another name with --as, or delete that one first"
        ) from None


def _tested(storage: BaseStorage) -> RDBStorage | None:
    """The database behind a storage, if its rows can be read and written in bulk."""
    database = relational(storage)
    if database is None or database.engine.dialect.name not in DIALECTS or database.get_current_version() != SCHEMA:
        return None
    return database


def _copy_one_by_one(
    source: FrozenStudy,
    name: str,
    trials: Sequence[FrozenTrial],
    storage: BaseStorage,
    on_slow: Callable[[int], None],
) -> Copied:
    """Copy with Optuna's functions. User attributes come last, so that an interrupted copy does not look like a study."""
    study_id = storage.create_new_study(source.directions, name)
    on_slow(len(trials))
    cut_off = 0
    try:
        for key, value in source.system_attrs.items():
            storage.set_study_system_attr(study_id, key, value)
        for trial in trials:
            if trial.state == TrialState.RUNNING:
                trial, cut_off = copy.copy(trial), cut_off + 1
                trial.state, trial.datetime_complete = TrialState.FAIL, datetime.now()
            storage.create_new_trial(study_id, trial)
        for key, value in source.user_attrs.items():
            storage.set_study_user_attr(study_id, key, value)
    except BaseException:
        with contextlib.suppress(Exception):  # the first error is the one to report
            storage.delete_study(study_id)
        raise
    return Copied(trials=len(trials), cut_off=cut_off)


def _copy_rows(source: FrozenStudy, name: str, tables: Iterator[Rows], database: RDBStorage) -> Copied:
    """Write the rows that Optuna would write, in one transaction; the trials come first in `tables`."""
    _, rows = next(tables)
    trials = sorted(rows, key=lambda row: row["number"])
    cut_off = [trial for trial in trials if trial["state"] == TrialState.RUNNING]
    for trial in cut_off:
        trial |= {"state": TrialState.FAIL, "datetime_complete": _in_utc(datetime.now())}
    with database.engine.begin() as connection:
        try:
            connection.execute(insert(models.StudyModel).values(study_name=name))
        except IntegrityError:
            raise DuplicatedStudyError from None
        of_name = select(models.StudyModel.study_id).where(models.StudyModel.study_name == name)
        study_id = connection.execute(of_name).scalar_one()
        _insert(connection, models.TrialModel, [{**trial, "study_id": study_id} for trial in trials])
        trial_id, number = models.TrialModel.trial_id, models.TrialModel.number
        of_study = select(trial_id, number).where(models.TrialModel.study_id == study_id).order_by(trial_id)
        there = connection.execute(of_study).all()
        if [found for _, found in there] != [
            trial["number"] for trial in trials
        ]:  # Optuna numbers trials by identifiers
            raise RuntimeError("the database gave the trials identifiers in another order than theirs; copy again")
        id_of = {found: identifier for identifier, found in there}
        for table, rows in _study_rows(source, study_id):
            _insert(connection, table, rows)
        for table, rows in tables:
            known = ({**row, "trial_id": id_of[row.pop("number")]} for row in rows if row["number"] in id_of)
            _insert(connection, table, known)
    return Copied(trials=len(trials), cut_off=len(cut_off))


def _insert(connection: Connection, table: Any, rows: Iterable[dict[str, Any]]) -> None:
    rows = iter(rows)
    while chunk := list(itertools.islice(rows, CHUNK)):
        connection.execute(insert(table.__table__), chunk)


def _study_rows(source: FrozenStudy, study_id: int) -> Iterator[Rows]:
    directions = enumerate(source.directions)
    yield models.StudyDirectionModel, [{"study_id": study_id, "objective": i, "direction": d} for i, d in directions]
    for table, attributes in (
        (models.StudyUserAttributeModel, source.user_attrs),
        (models.StudySystemAttributeModel, source.system_attrs),
    ):
        yield table, [{"study_id": study_id, "key": k, "value_json": json.dumps(v)} for k, v in attributes.items()]


def _stored_rows(database: RDBStorage, study_id: int) -> list[Rows]:
    """All tables of the trials of a study in a database, read at once, so that they can be written to the same file."""
    trial = models.TrialModel.__table__
    tables: list[Rows] = []
    with database.engine.connect() as connection:
        for table in (models.TrialModel, *_ROWS_OF):
            columns = table.__table__.columns
            kept = [c for c in columns if not c.primary_key and c.name not in ("trial_id", "study_id", "number")]
            query = select(trial.c.number, *kept).where(trial.c.study_id == study_id)
            if table is not models.TrialModel:
                query = query.where(columns.trial_id == trial.c.trial_id).order_by(*table.__table__.primary_key)
            tables.append((table, [dict(row) for row in connection.execute(query).mappings()]))
    return tables


def _rows_of(trials: Sequence[FrozenTrial]) -> Iterator[Rows]:
    """The same tables, made from trials in memory."""
    yield models.TrialModel, (_trial_row(trial) for trial in trials)
    for table, rows_of in _ROWS_OF.items():
        yield table, ({**row, "number": trial.number} for trial in trials for row in rows_of(trial))


def _trial_row(trial: FrozenTrial) -> dict[str, Any]:
    start, complete = _in_utc(trial.datetime_start), _in_utc(trial.datetime_complete)
    times = {"datetime_start": start, "datetime_complete": complete}
    return {"number": trial.number, "state": trial.state, **times}


def _in_utc(local: datetime | None) -> datetime | None:
    return None if local is None else local.astimezone(UTC).replace(tzinfo=None)


def _value_rows(trial: FrozenTrial) -> Iterator[dict[str, Any]]:
    for objective, value in enumerate(trial.values or ()):
        stored, kind = models.TrialValueModel.value_to_stored_repr(value)
        yield {"objective": objective, "value": stored, "value_type": kind}


def _intermediate_rows(trial: FrozenTrial) -> Iterator[dict[str, Any]]:
    for step, value in trial.intermediate_values.items():
        stored, kind = models.TrialIntermediateValueModel.intermediate_value_to_stored_repr(value)
        yield {"step": step, "intermediate_value": stored, "intermediate_value_type": kind}


def _param_rows(trial: FrozenTrial) -> Iterator[dict[str, Any]]:
    for name, value in trial.params.items():
        distribution = trial.distributions[name]
        internal = distribution.to_internal_repr(value)
        yield {"param_name": name, "param_value": internal, "distribution_json": distribution_to_json(distribution)}


def _user_rows(trial: FrozenTrial) -> Iterator[dict[str, Any]]:
    for key, value in trial.user_attrs.items():
        yield {"key": key, "value_json": json.dumps(value)}


def _system_rows(trial: FrozenTrial) -> Iterator[dict[str, Any]]:
    for key, value in trial.system_attrs.items():
        yield {"key": key, "value_json": json.dumps(value)}


_ROWS_OF: dict[Any, Callable[[FrozenTrial], Iterator[dict[str, Any]]]] = {
    models.TrialValueModel: _value_rows,
    models.TrialIntermediateValueModel: _intermediate_rows,
    models.TrialParamModel: _param_rows,
    models.TrialUserAttributeModel: _user_rows,
    models.TrialSystemAttributeModel: _system_rows,
}
