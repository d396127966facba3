"""Candidate: an architecture with its FLOPs, energy and parameters, and how these were obtained."""

import math
from dataclasses import asdict, dataclass
from statistics import fmean, stdev
from typing import Any

from autost_optuna import notebook, units
from autost_optuna.network.architecture import Architecture
from autost_optuna.proxies.goals import ENERGY, FLOPS, GOALS

INITIALISATION, TRAINED = "initialisation", "trained"
MEASURED, TABLE = RATES = ("measured", "table")  # how the rates behind an energy are known


@dataclass(frozen=True, kw_only=True, slots=True)
class Spread:
    """How an energy varies, in mJ, over images and initialisations; fields are None if there is only one.

    `std_mj`, `low_mj` and `high_mj` are over all single images; `std_over_seeds_mj` is over the means of seeds, each with
    its own weights and images. `error_mj` is the standard error of the mean. At initialisation it needs several seeds:
    the images of one batch are normalised together, so that some fire more because others fire less.
    """

    std_mj: float | None
    low_mj: float
    high_mj: float
    std_over_seeds_mj: float | None
    error_mj: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """What the search knows about an architecture on one task.

    `params`, `macs` and `flops` are exact counts of one inference over all time steps. `energy_mj` is an estimate in mJ
    per image under the energy convention `convention`, from the spikes that `images` images of `data` cause in the network
    with weights at "initialisation", for each of `seeds` seeds from `seed` on, or with "trained" weights. `rates` says whether
    these spikes were "measured" in this network, or are those of its parts in the study's "table". The energy is the mean of
    `energies_mj`, one tuple per seed with one energy per image; each seed has its own weights and images. `mean_rate` is
    the mean input spike rate over all spike-driven MACs, and `dead_share` the share of them behind layers that hardly fire;
    version 0.1.0 stored none. If `silent`, either is out of bounds and `energy_mj` is meaningless. `quantised_mj` is the energy
    of the same architecture without spikes in 8-bit integers. `break_even_rate` is the mean rate at which the two are equal, or
    None if one of them is cheaper at every rate. `number` is that of the trial in its study. `scores` are the values of its
    search's objectives other than FLOPs and energy, by name.
    """

    architecture: Architecture
    params: int
    macs: int
    flops: int
    energy_mj: float
    energies_mj: tuple[tuple[float, ...], ...]
    mean_rate: float
    silent: bool
    quantised_mj: float
    break_even_rate: float | None
    convention: str
    data: str
    images: int
    seed: int
    seeds: int
    weights: str = INITIALISATION
    number: int | None = None
    scores: tuple[tuple[str, float], ...] = ()
    dead_share: float | None = None
    rates: str = MEASURED

    def value(self, objective: str) -> float:
        """The value of an objective of its search."""
        return {FLOPS: float(self.flops), ENERGY: self.energy_mj, **dict(self.scores)}[objective]

    @property
    def unscored(self) -> str | None:
        """Why one of its scores cannot be compared, or None if all can."""
        for name, value in self.scores:
            if not math.isfinite(value):
                return f"{name} is {value:g}, so it cannot tell: two images look alike to the network, or no spike passes it"
        return None

    @property
    def rate_in_words(self) -> str:
        """The mean rate, and how much work hardly any spike drives: "0.123, 4.5% of the spike-driven MACs read dead layers"."""
        dead = f", {self.dead_share:.1%} of the spike-driven MACs read dead layers" if self.dead_share else ""
        rate = f"{self.mean_rate:.3f}" if self.mean_rate >= 0.01 else f"{self.mean_rate:.2g}"
        return f"{rate}{dead}"

    @property
    def spread(self) -> Spread:
        """The spread of the energy over images and initialisations."""
        values = [value for row in self.energies_mj for value in row]
        single, over_seeds = _stdev(values), _stdev([fmean(row) for row in self.energies_mj])
        if self.weights == TRAINED:
            error = None if single is None else single / len(values) ** 0.5
        else:
            error = None if over_seeds is None else over_seeds / self.seeds**0.5
        return Spread(
            std_mj=single, low_mj=min(values), high_mj=max(values), std_over_seeds_mj=over_seeds, error_mj=error
        )

    @property
    def remark(self) -> str:
        """What to add to its energy: ", by the table of rates", or nothing if it was measured."""
        return "" if self.rates == MEASURED else ", by the table of rates"

    @property
    def mark(self) -> str:
        """What stands before its energy in tables: "~" if the energy is by the table of rates, else nothing."""
        return "" if self.rates == MEASURED else "~"

    @property
    def provenance(self) -> str:
        """A description of the weights and images behind the rates, and of the table if they are a table's."""
        return ("" if self.rates == MEASURED else "by the study's table of rates, ") + self.conditions

    @property
    def conditions(self) -> str:
        """A description of the weights and images behind the rates, however these are known."""
        images = f"{units.images(self.images, self.seeds)} of {self.data}"
        if self.weights == TRAINED:
            return f"trained weights, {images}"
        return f"weights at initialisation, {units.seeds(self.seed, self.seeds)}, {images}"

    def _repr_html_(self) -> str:
        """In a notebook: its figures and their provenance."""
        spread = self.spread
        single = f"{units.energy(spread.low_mj)} to {units.energy(spread.high_mj)} on single images"
        pairs = [
            ("parameters", units.parameters(self.params)),
            ("FLOPs per image", units.count(self.flops)),
            ("energy per image", f"{units.energy(self.energy_mj)}, {self.convention}"),
            ("spread", "" if spread.std_mj is None else single),
            ("spike rate", self.rate_in_words + (": silent, the energy means nothing" if self.silent else "")),
            *((GOALS[name].label, units.significant(value, 4)) for name, value in self.scores),
            ("rates", self.provenance),
            ("without spikes", f"{units.energy(self.quantised_mj)} in 8-bit integers"),
        ]
        trial = "" if self.number is None else f"trial {self.number}: "
        return notebook.titled(trial + self.architecture.to_text(), notebook.facts(pairs))

    def to_dict(self) -> dict[str, Any]:
        """The dict of the JSON form, without the trial number, which its study knows."""
        fields = asdict(self)
        fields.pop("number")
        scores = dict(fields.pop("scores"))
        if self.dead_share is None:
            del fields["dead_share"]
        if self.rates == MEASURED:
            del fields["rates"]
        return {
            **fields,
            "architecture": self.architecture.to_dict(),
            "energies_mj": [list(row) for row in self.energies_mj],
            **({"scores": scores} if scores else {}),
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any], *, number: int | None = None) -> "Candidate":
        """Read the form of `to_dict`."""
        parts = {
            "architecture": Architecture.from_dict(data["architecture"]),
            "energies_mj": tuple(tuple(row) for row in data["energies_mj"]),
            "scores": tuple(data.get("scores", {}).items()),
        }
        return cls(**{**data, **parts, "number": number})


def _stdev(values: list[float]) -> float | None:
    """The sample standard deviation."""
    return stdev(values) if len(values) > 1 else None
