"""Settings: what all trials of a study share. The study stores them, so that a resumed run measures in the same way."""

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, asdict, dataclass, fields, is_dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from autost_optuna.data import Sample
from autost_optuna.front.candidate import MEASURED, RATES
from autost_optuna.front.constraints import BOUNDS, Constraints
from autost_optuna.front.front import Box
from autost_optuna.network.task import Task
from autost_optuna.proxies.convention import Convention
from autost_optuna.proxies.goals import DEFAULT_OBJECTIVES, check_objectives
from autost_optuna.space.space import Space
from autost_optuna.units import StrPath

ATTRIBUTE = "autost_optuna"
POPULATION = 50  # NSGA-II's default
VERSIONED = ("autost-optuna", "optuna", "torch", "spikingjelly")


@dataclass(frozen=True, slots=True)
class Plan:
    """What a new study is to search, and how.

    `images` is the number of images for the rates, split among `seeds` initialisations. `objectives` names FLOPs, energy and
    further proxies (`goals.GOALS`), each with its own direction. `population` is NSGA-II's. `rates` are "measured" in every
    network, or taken from a "table" of the space's parts.
    """

    space: Space
    task: Task
    _: KW_ONLY
    data: str = "digits"
    data_root: StrPath | None = None
    images: int = 4
    seeds: int = 1
    convention: Convention | None = None
    constraints: Constraints | None = None
    seed: int = 0
    population: int = POPULATION
    objectives: Sequence[str] = DEFAULT_OBJECTIVES
    rates: str = MEASURED


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """What all trials of a study share."""

    space: Space
    task: Task
    data: str
    data_root: str | None
    images: int
    seeds: int
    fingerprint: str
    convention: Convention
    constraints: Constraints
    seed: int
    population: int
    box: Box
    versions: dict[str, str]
    objectives: tuple[str, ...] = DEFAULT_OBJECTIVES
    rates: str = MEASURED

    def to_dict(self) -> dict[str, Any]:
        """The JSON form, with the hash of the convention added."""
        written = {"space": self.space.to_dict(), "convention": self.convention.to_dict()}
        written["constraints"] = {name: getattr(self.constraints, name) for name in BOUNDS}
        return {**asdict(self), **written, "convention_hash": self.convention.hash}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Settings":
        """Read the form of `to_dict`. ValueError if another version wrote it, or its convention does not match the hash."""
        try:
            data = {"objectives": DEFAULT_OBJECTIVES, "rates": MEASURED, **data}  # older studies have no such choices
            values = {name: data[name] for name in (field.name for field in fields(cls))}
            values["objectives"] = tuple(data["objectives"])
            check_objectives(values["objectives"])
            check_rates(values["rates"])
            values |= {"space": Space.from_dict(data["space"]), "task": Task(**data["task"]), "box": Box(**data["box"])}
            values["convention"] = Convention.from_dict(data["convention"])
            values["constraints"] = Constraints(**data["constraints"]).on(values["convention"])
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"the study was made by another version of autost-optuna ({error}); create it again"
            ) from None
        settings = cls(**values)
        if settings.convention.hash != data["convention_hash"]:
            raise ValueError(
                f"the stored convention {settings.convention.name} has hash {settings.convention.hash}, the study was made "
                f"under {data['convention_hash']}; create it again"
            )
        return settings

    def sample(self, data_root: StrPath | None = None) -> Sample:
        """The images that rates are measured on, in `data_root` or where they were when the study was created."""
        root = data_root or (Path(self.data_root) if self.data_root else None)
        return Sample(data=self.data, data_root=root, images=self.images, seed=self.seed, seeds=self.seeds)

    def check_convention(self, convention: Convention | None) -> None:
        """ValueError if `convention` is given and is not the study's, because energies could not be compared."""
        if convention is not None and convention.hash != self.convention.hash:
            raise ValueError(
                f"the study was made under {self.convention.name} (hash {self.convention.hash}), not under "
                f"{convention.name} (hash {convention.hash}); leave out --energy, or create another study"
            )

    def check_same(
        self,
        asked: Mapping[str, object],
        asker: str = "this command asks for",
        remedy: str = "ask for the same, or choose another name",
    ) -> None:
        """Raise ValueError, naming both values, if a field of `asked` has another value here."""
        for name, value in asked.items():
            ours = getattr(self, name)
            if ours != value:
                raise ValueError(f"the study has {name} {_said(ours, value)}, {asker} {_said(value, ours)}; {remedy}")

    def check_versions(self) -> None:
        """ValueError, naming both versions, if a package that affects a figure differs from the one that made the study."""
        here = installed_versions()
        for name, ours in self.versions.items():
            if ours.partition("+")[0] != here.get(name, "none").partition("+")[0]:  # ignore the build, such as +cpu
                raise ValueError(
                    f"the study was made with {name} {ours}, here is {here.get(name)}, so its figures could not be compared; "
                    f"install {name}=={ours}, or go on from its results in a new study by autost-optuna study fork"
                )


def check_rates(rates: object) -> None:
    """Raise ValueError unless `rates` says how rates are known."""
    if rates not in RATES:
        raise ValueError(f"rates {rates!r} are unknown; use {' or '.join(RATES)}")


def check_population(population: int) -> None:
    """Raise ValueError if NSGA-II cannot have this population."""
    if not 2 <= population <= 100_000:
        raise ValueError(f"population {population} is out of range for NSGA-II; use 2 to 100000, such as 50")


def installed_versions() -> dict[str, str]:
    """Versions of the packages that affect a study's figures."""
    return {name: version(name) for name in VERSIONED}


def _said(value: object, other: object) -> str:
    """A setting, for a message: its name, plus the differences if both have the same name; a setting without a name in full."""
    for key in ("label", "name"):
        ours, theirs = getattr(value, key, None), getattr(other, key, None)
        if ours is not None and ours != theirs:
            return str(ours)
        if ours is not None and is_dataclass(value):
            parts = ((field.name, getattr(value, field.name), getattr(other, field.name)) for field in fields(value))
            return f"{ours} ({', '.join(f'{part} {mine}' for part, mine, theirs in parts if mine != theirs)})"
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
