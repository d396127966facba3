"""Baselines: architectures chosen by hand beside a search, all in AutoST's form; they never count as searched."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from autost_optuna import units
from autost_optuna.front.candidate import Candidate
from autost_optuna.network.architecture import Architecture
from autost_optuna.network.published import INTEGERS, MEASURED, NETWORKS, Published
from autost_optuna.search.catalogue import find_architecture
from autost_optuna.search.restore import make_objective
from autost_optuna.search.search import Search
from autost_optuna.search.settings import ATTRIBUTE
from autost_optuna.units import StrPath

BASELINES = f"{ATTRIBUTE}:baselines"
MOST = 50  # a figure has no room for more, and databases limit the length of an attribute


@dataclass(frozen=True, kw_only=True, slots=True)
class Baseline:
    """An architecture chosen by hand, with its figures in AutoST's form under a study's objective, at initialisation.

    A study stores `name`, and commands accept it. People see `label`: a published network's name beside these figures
    would be wrong.
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
        """The published network with the same sizes, or None for the user's own architecture."""
        return NETWORKS.get(self.name)

    @property
    def label(self) -> str:
        """The name to show: "AutoST form" with width and depth if it has the sizes of a published network, else its name."""
        sizes = self.architecture
        return f"AutoST form, {sizes.embed_dim} × {sizes.depth}" if self.published else self.name


def alike(baselines: Iterable[Baseline]) -> list[list[Baseline]]:
    """The baselines in groups with the same label and architecture, which are the same network here."""
    groups: dict[tuple[str, Architecture], list[Baseline]] = {}
    for one in baselines:
        groups.setdefault((one.label, one.architecture), []).append(one)
    return list(groups.values())


def sizes_of(baselines: Iterable[Baseline]) -> str:
    """The published networks with the sizes of the baselines: "Spikformer-4-384, Spikingformer-4-384"; "" if none."""
    return ", ".join(one.published.name for one in baselines if one.published)


def form_differs(baselines: Iterable[Baseline]) -> str:
    """A sentence that the published networks with the sizes of `baselines` are different networks; "" if there are none."""
    names = sizes_of(baselines)
    if not names:
        return ""
    others = "networks are other ones and cost" if ", " in names else "network is another one and costs"
    return f"AutoST form has only the sizes of {names}. The published {others} several times less energy"


def caveat(baselines: Iterable[Baseline]) -> str:
    """The remark beside a table or figure of `baselines`: `form_differs`, and by how much as measured."""
    said = form_differs(baselines)
    integers = f" {INTEGERS}." if "Spikformer" in said else ""
    return f"{said}: {MEASURED}.{integers}" if said else ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """The members of a front that dominate a baseline, the best first, and the number of members that it dominates."""

    ahead: tuple[Candidate, ...]
    behind: int


def standing(baseline: Baseline, members: Iterable[Candidate]) -> Standing:
    """The standing of a baseline relative to a front."""
    ahead, behind = [], 0
    for member in members:
        more, less = member.flops - baseline.flops, member.energy_mj - baseline.energy_mj
        if more >= 0 >= less and (more or less):
            ahead.append(member)
        behind += bool(more <= 0 <= less and (more or less))
    ahead.sort(key=lambda m: m.energy_mj / m.flops)  # by FLOPs gained times energy saved
    return Standing(ahead=tuple(ahead), behind=behind)


def baseline_in_words(baseline: Baseline, members: Sequence[Candidate]) -> str:
    """A baseline's figures, and its standing relative to the front of `members`, in one line."""
    figures = f"{units.count(baseline.flops, 'FLOPs')}, {units.energy(baseline.energy_mj)}"
    return f"{figures}; {standing_in_words(baseline, members)}"


def standing_in_words(baseline: Baseline, members: Sequence[Candidate]) -> str:
    """A baseline's standing relative to the front of `members`, in words."""
    place = standing(baseline, members)
    if not members:
        return "the search has no front yet"
    if not place.ahead:
        return f"non-dominated, and dominates {place.behind} of the front's {units.counted(len(members), 'member')}"
    best = place.ahead[0]
    gain, cost = best.flops / baseline.flops, best.energy_mj / baseline.energy_mj
    return (
        f"dominated by {units.counted(len(place.ahead), 'member')}: e.g. trial {best.number} has "
        f"{units.significant(gain)} times the FLOPs at {units.significant(cost)} of the energy"
    )


def lines(baselines: Iterable[Baseline], members: Sequence[Candidate]) -> list[tuple[str, str]]:
    """The label of each network with its text from `in_words`; networks with equal sizes appear once."""
    return [(group[0].label, baseline_in_words(group[0], members)) for group in alike(baselines)]


def to_row(baseline: Baseline, members: Sequence[Candidate]) -> dict[str, Any]:
    """A baseline as JSON: our figures and its standing (`dominator` is a trial's number).

    `sizes_of` names the published network with its sizes, and `caveat` says that it is a different one; our rows never
    hold figures of that network.
    """
    place, network = standing(baseline, members), baseline.published
    return {
        **asdict(baseline),
        "name": baseline.label,
        "sizes_of": network and network.name,
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
    if source.lower() in NETWORKS:
        return source.lower()
    return Architecture.from_text(source).to_text() if "=" in source and ":" not in source else source


def find_networks(sources: Sequence[str], storage: str) -> dict[str, Architecture]:
    """The architectures of `sources` by name: names in NETWORKS, "all" of these, or anything `find_architecture` reads."""
    found: dict[str, Architecture] = {}
    for source in sources:
        if source == "all":
            found |= {name: network.architecture for name, network in NETWORKS.items()}
        elif source.lower() in NETWORKS:
            found[name_of(source)] = NETWORKS[name_of(source)].architecture
        elif source.endswith((".json", ".yaml", ".yml")) or {":", "="} & set(source):
            found[name_of(source)] = find_architecture(source, storage)[0]
        else:
            raise ValueError(
                f"no network {source!r}; choose of {', '.join(NETWORKS)} and all, or give FILE.json, FILE.yaml, STUDY:TRIAL or "
                '"C=384,depth=4,heads=12,ratio=4"'
            )
    return found


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

    ValueError, before anything is measured, if one does not fit the task or there are too many.
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
