"""How far to trust the figures of a study: what trained networks and published data say about the proxies."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from autost_optuna import units
from autost_optuna.delivery.words import sentence
from autost_optuna.front.health import Health
from autost_optuna.proxies.methods import ignored
from autost_optuna.ranks import Ranks
from autost_optuna.search.search import Search
from autost_optuna.training.calibration import Calibration, calibrate, group, trained_alike
from autost_optuna.training.record import Dropped, Record
from autost_optuna.training.worth import ELSEWHERE, worth

if TYPE_CHECKING:
    pass


def trust(
    search: Search, found: Health, trainings: Sequence[Record], dropped: Sequence[Dropped], untrained: str
) -> list[str]:
    """How far to trust the two figures, in plain sentences."""
    settings = search.settings
    sentences = [
        "FLOPs are exact counts. They stand for capacity; that they rank accuracy is AutoST's claim (Wang et al., ICASSP "
        "2024), which this program does not promise.",
        "Energies are estimates from the spikes of untrained networks under the convention named above. They rank "
        "architectures; they do not measure a trained network or a chip.",
        f"The convention does not charge separately for {', '.join(ignored(settings.convention))}.",
    ]
    if found.spearman is not None:
        sentences.append(
            f"FLOPs and energy rank the {found.unique:,} architectures alike at Spearman {found.spearman:.3f}: the nearer to "
            "1, the less the second objective adds to the first."
        )
    if settings.seeds == 1:
        sentences.append(
            "Rates come from one initialisation, so nothing here shows how energies vary over others; a study created with "
            "--seeds 8 does. On CIFAR-10 the standard deviation of an energy over initialisations was 0.82 %."
        )
    if not trainings:
        reason = f" ({untrained})" if untrained else ""
        finds = units.command("train", search.study.study_name, "--front", "5")
        sentences.append(
            f"None of these networks has been trained{reason}, so their accuracy is unknown. {finds} finds out."
        )
    calibrated = [_calibrated(one) for one in calibrate(trainings, settings.task, settings.convention)]
    verdicts = [worth([run for one in alike for run in one.runs], dropped) for alike in trained_alike(group(trainings))]
    told = [line for verdict in verdicts if verdict is not None for line in (verdict.sentence, *verdict.warnings)]
    return [*sentences, *([] if told else [sentence(ELSEWHERE)]), *calibrated, *map(sentence, told)]


def _calibrated(one: Calibration) -> str:
    order = f", {one.swapped} of {units.counted(one.pairs, 'pair')} in another order" if one.pairs else ""
    moved = one.layers[0]
    return (
        f"{units.counted(one.networks, 'network')} of {units.counted(one.members, 'architecture')} trained by the recipe "
        f"{one.recipe_name} on {one.data}: measured energy is {one.ratio:.2f} times the predicted ({one.least_ratio:.2f} to "
        f"{one.largest_ratio:.2f}){order}{_ranks(', ranks of energy', one.energy)}"
        f"{_ranks(', of accuracy by FLOPs', one.accuracy)}. "
        f"Most moved the input rate of {moved.role}, from {moved.initial_rate:.3f} to {moved.trained_rate:.3f} "
        f"({moved.change:+.1%} of the energy)."
    )


def _ranks(what: str, ranks: Ranks | None) -> str:
    return "" if ranks is None else f"{what}: Spearman {ranks.spearman:.2f}, Kendall {ranks.kendall:.2f}"
