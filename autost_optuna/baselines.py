"""Baselines: architectures by hand beside a search, our figures beside the published ones; never counted as searched."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from autost_optuna import units
from autost_optuna.architecture import Architecture
from autost_optuna.candidate import Candidate
from autost_optuna.restore import make_objective
from autost_optuna.settings import ATTRIBUTE
from autost_optuna.study import Search, find_architecture
from autost_optuna.units import StrPath

BASELINES = f"{ATTRIBUTE}:baselines"
MOST = 50  # more fit into no figure, and databases bound the length of an attribute
SPIKFORMER = "Zhou et al. 2022, arXiv 2209.15425"
SPIKINGFORMER = "Zhou et al. 2023, arXiv 2304.11954"
DIFFERENCES = (
    "Ours are of this project's network of the same sizes, on the study's task and images. Its layers of neurons have a "
    "learnt scalar each, and its position convolution reads real values where the published ones read spikes. Spikformer has "
    "LayerNorms that it never uses, 4 C parameters a block, and Spikingformer C more a block. Of equal sizes they are one "
    "point here."
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Published:
    """A published network of the family: what its authors printed, and what was counted on their network.

    `params` and `gmacs` (attention products included, summed over 4 time steps) are counted on their network for `task`;
    `accuracies` in % by data set, and `energy_mj`, of trained weights for `task`, are as printed in `source`.
    """

    architecture: Architecture
    task: str
    params: int
    gmacs: float
    accuracies: Mapping[str, float]
    energy_mj: float | None
    source: str
    remark: str | None = None

    @property
    def accuracies_in_words(self) -> str:
        """The accuracies with their data sets: "95.19 % CIFAR-10, 77.86 % CIFAR-100"."""
        return ", ".join(f"{value:.2f} % {data}" for data, value in self.accuracies.items())


def _cifar(depth: int, params: int, gmacs: float, accuracies: tuple[float, float], source: str) -> Published:
    """A network for CIFAR of width 384: heads of 32 dimensions, as in Spikformer-4-384, and MLPs of ratio 4."""
    return Published(
        architecture=Architecture.uniform(embed_dim=384, depth=depth, num_heads=12, mlp_ratio=4),
        task="cifar10",
        params=params,
        gmacs=gmacs,
        accuracies=MappingProxyType(dict(zip(("CIFAR-10", "CIFAR-100"), accuracies, strict=True))),
        energy_mj=None,
        source=source,
    )


NETWORKS: Mapping[str, Published] = MappingProxyType(
    {
        "spikformer-2-384": _cifar(2, 5_768_122, 2.805010, (94.80, 76.95), SPIKFORMER),
        "spikformer-4-384": _cifar(4, 9_330_874, 3.736145664, (95.19, 77.86), SPIKFORMER),
        "spikingformer-2-384": _cifar(2, 5_765_818, 2.805010, (95.22, 78.34), SPIKINGFORMER),
        "spikingformer-4-384": _cifar(4, 9_326_266, 3.736145664, (95.61, 79.09), SPIKINGFORMER),
        # 8 heads, as in the log of its published energy.
        "spikingformer-8-512": Published(
            architecture=Architecture.uniform(embed_dim=512, depth=8, num_heads=8, mlp_ratio=4),
            task="imagenet",
            params=29_705_768,
            gmacs=33.436192768,
            accuracies=MappingProxyType({"ImageNet": 74.79}),
            energy_mj=7.46,
            source=SPIKINGFORMER,
            remark="the GMACs of the published spikingformer-8-512 have attention as q (k^T v), ours as (q k^T) v",
        ),
    }
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Baseline:
    """An architecture by hand with its figures under the objective of a study; energy_mj at initialisation."""

    name: str
    architecture: Architecture
    params: int
    macs: int
    energy_mj: float

    @property
    def flops(self) -> int:
        """FLOPs of one inference over all time steps."""
        return 2 * self.macs

    @property
    def published(self) -> Published | None:
        """What was published of it, None of an architecture of one's own."""
        return NETWORKS.get(self.name)


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """The members of a front that dominate a baseline, the farthest ahead first, and how many members it dominates."""

    ahead: tuple[Candidate, ...]
    behind: int


def standing(baseline: Baseline, members: Iterable[Candidate]) -> Standing:
    """The standing of a baseline against a front."""
    ahead, behind = [], 0
    for member in members:
        more, less = member.flops - baseline.flops, member.energy_mj - baseline.energy_mj
        if more >= 0 >= less and (more or less):
            ahead.append(member)
        behind += bool(more <= 0 <= less and (more or less))
    ahead.sort(key=lambda m: m.energy_mj / m.flops)  # by FLOPs gained times energy saved
    return Standing(ahead=tuple(ahead), behind=behind)


def in_words(baseline: Baseline, members: Sequence[Candidate]) -> str:
    """A baseline's figures, and its standing against the front of `members`, in one line."""
    figures = f"{units.count(baseline.flops, 'FLOPs')}, {units.energy(baseline.energy_mj)}"
    place = standing(baseline, members)
    if not members:
        return f"{figures}; the search has no front yet"
    if not place.ahead:
        return f"{figures}; non-dominated, and dominates {place.behind} of the front's {units.counted(len(members), 'member')}"
    best = place.ahead[0]
    gain, cost = best.flops / baseline.flops, best.energy_mj / baseline.energy_mj
    return (
        f"{figures}; dominated by {units.counted(len(place.ahead), 'member')}: e.g. trial {best.number} has "
        f"{units.significant(gain)} times the FLOPs at {units.significant(cost)} of the energy"
    )


def to_row(baseline: Baseline, members: Sequence[Candidate]) -> dict[str, Any]:
    """A baseline as JSON: our figures, its standing (`dominator` is a trial's number), what was published of it."""
    place, published = standing(baseline, members), baseline.published
    return {
        **asdict(baseline),
        "architecture": baseline.architecture.to_dict(),
        "flops": baseline.flops,
        "dominated_by": len(place.ahead),
        "dominates": place.behind,
        "dominator": place.ahead[0].number if place.ahead else None,
        "published": published
        and {
            "task": published.task,
            "params": published.params,
            "gmacs": published.gmacs,
            "energy_mj": published.energy_mj,
            "accuracies": dict(published.accuracies),
            "source": published.source,
            "remark": published.remark,
        },
    }


def name_of(source: str) -> str:
    """The name under which a study keeps the architecture that `source` gives: short, and the same however it is written."""
    if source.endswith((".json", ".yaml", ".yml")):
        return Path(source).name
    return Architecture.from_text(source).to_text() if "=" in source and ":" not in source else source


def find_networks(sources: Sequence[str], storage: str) -> dict[str, Architecture]:
    """The architectures of `sources` by name: networks of NETWORKS, "all" of them, or what `find_architecture` reads."""
    found: dict[str, Architecture] = {}
    for source in sources:
        if source == "all":
            found |= {name: network.architecture for name, network in NETWORKS.items()}
        elif source in NETWORKS:
            found[source] = NETWORKS[source].architecture
        elif source.endswith((".json", ".yaml", ".yml")) or {":", "="} & set(source):
            found[name_of(source)] = find_architecture(source, storage)[0]
        else:
            raise ValueError(
                f"no network {source!r}; choose of {', '.join(NETWORKS)} and all, or give FILE.json, FILE.yaml, STUDY:TRIAL or "
                '"C=384,depth=4,heads=12,ratio=4"'
            )
    return found


def baselines_of(search: Search) -> list[Baseline]:
    """The baselines of a study, in the order in which they were added."""
    stored = search.study.user_attrs.get(BASELINES, [])
    return [Baseline(**{**row, "architecture": Architecture.from_text(row["architecture"])}) for row in stored]


def add_baselines(
    search: Search,
    networks: Mapping[str, Architecture],
    *,
    data_root: StrPath | None = None,
    device: str = "cpu",
) -> None:
    """Measure `networks` under the study's objective, and store them with the study; one of a known name is replaced.

    ValueError, before anything is measured, where one does not fit the task or there are too many.
    """
    for name, architecture in networks.items():
        if not name.isprintable():
            raise ValueError(f"baseline {name!r} has unprintable characters in its name; rename the file")
        search.settings.task.check(architecture)
    _check_number({baseline.name for baseline in baselines_of(search)} | set(networks))
    objective = make_objective(search.settings, data_root, device)
    made = {}
    for name, architecture in networks.items():
        candidate = objective.evaluate(architecture)
        if candidate.silent:
            raise ValueError(
                f"baseline {name} is silent on the study's images, so its energy means nothing; leave it out"
            )
        made[name] = Baseline(
            name=name,
            architecture=architecture,
            params=candidate.params,
            macs=candidate.macs,
            energy_mj=candidate.energy_mj,
        )
    kept = {
        baseline.name: baseline for baseline in baselines_of(search)
    } | made  # another may have added some meanwhile
    _check_number(set(kept))
    _store(search, kept.values())


def remove_baselines(search: Search, names: Iterable[str]) -> None:
    """Remove the baselines called `names`. ValueError where there is none of a name."""
    there, gone = baselines_of(search), set(names)
    unknown = gone - {baseline.name for baseline in there}
    if unknown:
        known = ", ".join(baseline.name for baseline in there)
        raise ValueError(f"no baseline {min(unknown)!r} in the study; it has {known or 'none'}")
    _store(search, (baseline for baseline in there if baseline.name not in gone))


def _check_number(names: set[str]) -> None:
    if len(names) > MOST:
        raise ValueError(f"{len(names)} baselines are over the bound {MOST} of a study; take out some with --remove")


def _store(search: Search, baselines: Iterable[Baseline]) -> None:
    """Store baselines, architectures as text: short enough for an attribute in any database."""
    rows = [{**asdict(baseline), "architecture": baseline.architecture.to_text()} for baseline in baselines]
    search.study.set_user_attr(BASELINES, rows)
