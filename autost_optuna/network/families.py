"""Families: spiking transformers by the names of their papers, each as its authors build it, with the figures they print."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from autost_optuna.network.architecture import Architecture
from autost_optuna.network.styles import STYLES


@dataclass(frozen=True, kw_only=True, slots=True)
class Published:
    """A published network as its authors build it for `task`, a preset; an entry of families.toml, which says where from.

    `unused` counts the parameters that the authors' code creates and never uses, for `unused_what`. They are not built, and
    our counts leave them out. `accuracies` in % by data set, and `energy_mj` of the trained network, are as the authors
    print them. `remark` is said wherever these figures are shown.
    """

    name: str
    architecture: Architecture
    task: str
    unused: int = 0
    unused_what: str = ""
    accuracies: Mapping[str, float] = field(hash=False)
    energy_mj: float | None = None
    remark: str | None = None

    @property
    def family(self) -> str:
        """The family's name."""
        return self.name.partition("-")[0]

    @property
    def source(self) -> str:
        """The paper of its family."""
        return STYLES[self.architecture.form.stem].source

    @property
    def accuracies_in_words(self) -> str:
        """The accuracies with their data sets: "95.19 % CIFAR-10, 77.86 % CIFAR-100"; "-" if none are known."""
        return ", ".join(f"{value:.2f} % {data}" for data, value in self.accuracies.items()) or "-"

    @property
    def in_words(self) -> str:
        """What the authors print of it, and what their code creates and never uses, in one line."""
        energy = "" if self.energy_mj is None else f", {self.energy_mj:.2f} mJ with trained weights"
        remark = f"; {self.remark}" if self.remark else ""
        unused = f"; {self.unused:,} parameters more are never used: {self.unused_what}" if self.unused else ""
        return f"{self.accuracies_in_words}{energy} ({self.source}){remark}{unused}"

    def to_dict(self) -> dict[str, Any]:
        """The figures as JSON, without the architecture."""
        row = {name: getattr(self, name) for name in ("name", "task", "unused", "energy_mj")}
        return {**row, "accuracies": dict(self.accuracies), "source": self.source, "remark": self.remark}


def _read(name: str, entry: dict[str, Any]) -> Published:
    architecture = Architecture.from_text(entry.pop("architecture"))
    accuracies = MappingProxyType(entry.pop("accuracies", {}))
    return Published(name=name, architecture=architecture, accuracies=accuracies, **entry)


NETWORKS: Mapping[str, Published] = MappingProxyType(
    {
        name: _read(name, entry)
        for name, entry in tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8")).items()
    }
)
FAMILIES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        family: tuple(name for name, network in NETWORKS.items() if network.family == family)
        for family in dict.fromkeys(network.family for network in NETWORKS.values())
    }
)


def is_network(name: str) -> bool:
    """Whether `name` is that of a family or of one of its networks."""
    return name.lower() in NETWORKS or name.lower() in FAMILIES


def published(name: str) -> Published:
    """The network called `name`. ValueError lists the configurations of a family, or the families."""
    name = name.lower()
    if name in NETWORKS:
        return NETWORKS[name]
    if name in FAMILIES:
        raise ValueError(f"{name} is a family; choose one of {', '.join(FAMILIES[name])}")
    raise ValueError(
        f"no network {name!r}; choose one of the families {', '.join(FAMILIES)}, such as {next(iter(NETWORKS))}"
    )
