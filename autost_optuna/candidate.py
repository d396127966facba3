"""Candidate: an architecture with its FLOPs, energy and parameters, and how they are known."""

from dataclasses import asdict, dataclass
from typing import Any

from autost_optuna.architecture import Architecture


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """What the search knows of an architecture on one task.

    `params`, `macs` and `flops` are exact counts of one inference over all time steps. `energy_mj` is an estimate in mJ
    an image under the energy convention `convention`, from the spikes that `images` images of `data` cause in the network
    at initialisation with weights of `seed`. `mean_rate` is the mean input spike rate over all spike-driven MACs;
    `silent` says that next to no spike was seen, which makes `energy_mj` meaningless. `number` is the trial's in its study.
    """

    architecture: Architecture
    params: int
    macs: int
    flops: int
    energy_mj: float
    mean_rate: float
    silent: bool
    convention: str
    data: str
    images: int
    seed: int
    number: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """The JSON form, without the trial number, which its study knows."""
        fields = asdict(self)
        fields.pop("number")
        return {**fields, "architecture": self.architecture.to_dict()}

    @classmethod
    def from_dict(cls, data: dict[str, Any], *, number: int | None = None) -> "Candidate":
        """Read the form of `to_dict`."""
        return cls(**{**data, "architecture": Architecture.from_dict(data["architecture"]), "number": number})
