"""Baselines: published networks and others chosen by hand, beside a search; they never count as searched."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from autost_optuna import units
from autost_optuna.front.candidate import Candidate
from autost_optuna.network.architecture import Architecture
from autost_optuna.network.families import FAMILIES, NETWORKS, Published, is_network, published
from autost_optuna.network.task import Task
from autost_optuna.network.values import errors_of
from autost_optuna.proxies.flops import count_macs
from autost_optuna.search.catalogue import find_architecture
from autost_optuna.search.exact import Found
from autost_optuna.search.restore import make_objective
from autost_optuna.search.search import Search
from autost_optuna.search.settings import ATTRIBUTE
from autost_optuna.units import StrPath

BASELINES = f"{ATTRIBUTE}:baselines"
REBUILT = "-rebuilt"  # after the name of a published network, only whose sizes are meant
# Measured in studies/true_spikingformer, on the same images.
MEASURED = (
    "at initialisation on CIFAR-10 images, under horowitz-45nm-fp32, spikingformer-4-384 costs 0.35 mJ as its authors build it "
    "and 2.02 mJ in AutoST's form"
)
MOST = 50  # a figure has no room for more, and databases limit the length of an attribute


@dataclass(frozen=True, kw_only=True, slots=True)
class Baseline:
    """An architecture chosen by hand, with its figures under a study's objective, at initialisation.

    A study stores `name`, and commands accept it. People see `label`. Version 0.1.0 stored networks of AutoST's form under
    the names of published ones, whose sizes alone they have; they end in "-rebuilt" today.
    """

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
        """The published network of this name, or whose sizes these are; None for the user's own architecture."""
        return NETWORKS.get(self.name.removesuffix(REBUILT))

    @property
    def rebuilt(self) -> bool:
        """Whether it has only the sizes of the published network, in AutoST's form."""
        return self.published is not None and self.published.architecture != self.architecture

    @property
    def label(self) -> str:
        """The name to show: "AutoST form" with width and depth if it has only a published network's sizes, else its name."""
        sizes = self.architecture
        return f"AutoST form, {sizes.embed_dim} × {sizes.depth}" if self.rebuilt else self.name


def alike(baselines: Iterable[Baseline]) -> list[list[Baseline]]:
    """The baselines in groups with the same label and architecture, which are the same network here."""
    groups: dict[tuple[str, Architecture], list[Baseline]] = {}
    for one in baselines:
        groups.setdefault((one.label, one.architecture), []).append(one)
    return list(groups.values())


def sizes_of(baselines: Iterable[Baseline]) -> str:
    """The published networks whose sizes alone the baselines have: "spikformer-4-384, spikingformer-4-384"; "" if none."""
    return ", ".join(one.published.name for one in baselines if one.rebuilt and one.published)


def form_differs(baselines: Iterable[Baseline]) -> str:
    """A sentence that baselines with the sizes of published networks are different networks; "" if there are none."""
    names = sizes_of(baselines)
    if not names:
        return ""
    others = "networks are other ones and cost" if ", " in names else "network is another one and costs"
    return f"AutoST form has only the sizes of {names}. The published {others} several times less energy"


def caveat(baselines: Iterable[Baseline]) -> str:
    """The remark beside a table or figure of `baselines`: `form_differs`, and by how much as measured."""
    said = form_differs(baselines)
    return f"{said}: {MEASURED}." if said else ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """The members of a front that dominate a baseline, the best first, and the number of members that it dominates."""

    ahead: tuple[Found, ...]
    behind: int


def standing(baseline: Baseline, members: Iterable[Found]) -> Standing:
    """The standing of a baseline relative to a front."""
    ahead, behind = [], 0
    for member in members:
        more, less = member.flops - baseline.flops, member.energy_mj - baseline.energy_mj
        if more >= 0 >= less and (more or less):
            ahead.append(member)
        behind += bool(more <= 0 <= less and (more or less))
    ahead.sort(key=lambda m: m.energy_mj / m.flops)  # by FLOPs gained times energy saved
    return Standing(ahead=tuple(ahead), behind=behind)


def baseline_in_words(baseline: Baseline, members: Sequence[Found]) -> str:
    """A baseline's figures, and its standing relative to the front of `members`, in one line."""
    figures = f"{units.count(baseline.flops, 'FLOPs')}, {units.energy(baseline.energy_mj)}"
    return f"{figures}; {standing_in_words(baseline, members)}"


def standing_in_words(baseline: Baseline, members: Sequence[Found]) -> str:
    """A baseline's standing relative to the front of `members`, in words."""
    place = standing(baseline, members)
    if not members:
        return "the search has no front yet"
    if not place.ahead:
        return f"non-dominated, and dominates {place.behind} of the front's {units.counted(len(members), 'member')}"
    best = place.ahead[0]
    which = best.architecture.in_words(blocks=False) if best.number is None else f"trial {best.number}"
    gain, cost = best.flops / baseline.flops, best.energy_mj / baseline.energy_mj
    return (
        f"dominated by {units.counted(len(place.ahead), 'member')}: e.g. {which} has "
        f"{units.significant(gain)} times the FLOPs at {units.significant(cost)} of the energy"
    )


def lines(baselines: Iterable[Baseline], members: Sequence[Candidate]) -> list[tuple[str, str]]:
    """The label of each network with its text from `in_words`; networks with equal sizes appear once."""
    return [(group[0].label, baseline_in_words(group[0], members)) for group in alike(baselines)]


def to_row(baseline: Baseline, members: Sequence[Candidate]) -> dict[str, Any]:
    """A baseline as JSON: our figures and its standing (`dominator` is a trial's number).

    If it has only the sizes of a published network, `sizes_of` names that, and `caveat` says that it is a different one.
    """
    place = standing(baseline, members)
    return {
        **asdict(baseline),
        "name": baseline.label,
        "sizes_of": sizes_of([baseline]) or None,
        "architecture": baseline.architecture.to_dict(),
        "flops": baseline.flops,
        "dominated_by": len(place.ahead),
        "dominates": place.behind,
        "dominator": place.ahead[0].number if place.ahead else None,
        "caveat": form_differs([baseline]) or None,
    }


def name_of(source: str) -> str:
    """The name under which a study stores the architecture `source`: short, and the same for every way to write it."""
    if source.endswith((".json", ".yaml", ".yml")):
        return Path(source).name
    if source.lower().removesuffix(REBUILT) in NETWORKS:
        return source.lower()
    return Architecture.from_text(source).to_text() if "=" in source and ":" not in source else source


def find_networks(
    sources: Sequence[str], storage: str, task: Task | None = None, *, rebuilt: bool = False
) -> dict[str, Architecture]:
    """The architectures of `sources` by name: published networks, "all" of those for `task`, or what `find_architecture` reads.

    If `rebuilt`, published networks lend only their sizes to AutoST's form, under a name of their own.
    """
    found: dict[str, Architecture] = {}
    for source in sources:
        if source == "all" or is_network(source):
            some = networks_for(task) if source == "all" else [published(source)]
            for one in some:
                sizes = in_autost_form(one.architecture) if rebuilt else one.architecture
                found[one.name if sizes == one.architecture else f"{one.name}{REBUILT}"] = sizes
        elif source.endswith((".json", ".yaml", ".yml")) or {":", "="} & set(source):
            found[name_of(source)] = find_architecture(source, storage)[0]
        else:
            raise ValueError(
                f"no network {source!r}; choose one of the families {', '.join(FAMILIES)}, such as {next(iter(NETWORKS))}, or "
                'give all, FILE.json, FILE.yaml, STUDY:TRIAL or "C=384,depth=4,heads=12,ratio=4"'
            )
    return found


def networks_for(task: Task | None) -> list[Published]:
    """The networks published for a task; those for CIFAR-10, as far as they can read its images, if there are none."""
    own = [one for one in NETWORKS.values() if task is not None and one.task == task.name]
    return own or [one for one in NETWORKS.values() if one.task == "cifar10" and (task is None or fits(one, task))]


def fits(network: Published, task: Task) -> bool:
    """Whether a network can be built for a task."""
    try:
        count_macs(network.architecture, task)
    except ValueError:
        return False
    return True


def in_autost_form(architecture: Architecture) -> Architecture:
    """AutoST's form with the width, depth, heads and MLP ratio of a network, as far as it has them."""
    heads = [getattr(part, "num_heads", 8) for part in architecture.mixers]
    return Architecture.uniform(
        embed_dim=architecture.embed_dim,
        depth=architecture.depth,
        num_heads=heads[-1],
        mlp_ratio=architecture.mlp_ratio[-1],
    )


def baselines_of(search: Search) -> list[Baseline]:
    """The baselines of a study, in the order of their addition."""
    stored = search.study.user_attrs.get(BASELINES, [])
    return [Baseline(**{**row, "architecture": Architecture.from_text(row["architecture"])}) for row in stored]


def add_baselines(
    search: Search,
    networks: Mapping[str, Architecture],
    *,
    data_root: StrPath | None = None,
    device: str = "cpu",
) -> None:
    """Measure `networks` under the study's objective and store them with the study; one with a known name is replaced.

    ValueError, before anything is measured, if one cannot be built for the task or there are too many.
    """
    for name, architecture in networks.items():
        if not name.isprintable():
            raise ValueError(f"baseline {name!r} has unprintable characters in its name; rename the file")
        with errors_of(f"baseline {name} on task {search.settings.task.name}"):
            search.settings.task.check(architecture)
            count_macs(architecture, search.settings.task)  # which walks its parts
    _check_number({baseline.name for baseline in baselines_of(search)} | set(networks))
    objective = make_objective(search.settings, data_root, device)
    made = {}
    for name, architecture in networks.items():
        candidate = objective.measure(architecture)
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
    } | made  # another process may have added some meanwhile
    _check_number(set(kept))
    _store(search, kept.values())


def remove_baselines(search: Search, names: Iterable[str]) -> None:
    """Remove the baselines `names`: each is the name that was added or the label that is shown.

    ValueError if a name is unknown.
    """
    there, gone = baselines_of(search), set(names)
    unknown = gone - {name for baseline in there for name in (baseline.name, baseline.label)}
    if unknown:
        known = ", ".join(baseline.name for baseline in there)
        raise ValueError(f"no baseline {min(unknown)!r} in the study; it has {known or 'none'}")
    _store(search, (baseline for baseline in there if not gone & {baseline.name, baseline.label}))


def _check_number(names: set[str]) -> None:
    if len(names) > MOST:
        raise ValueError(f"{len(names)} baselines are over the bound {MOST} of a study; take out some with --remove")


def _store(search: Search, baselines: Iterable[Baseline]) -> None:
    """Store baselines, with architectures as text, which is short enough for an attribute in any database."""
    rows = [{**asdict(baseline), "architecture": baseline.architecture.to_text()} for baseline in baselines]
    search.study.set_user_attr(BASELINES, rows)
