"""The sampler and the objective of a study, from its plan or its settings."""

from collections.abc import Mapping
from typing import Any

from autost_optuna.data import NAMES, rate_images
from autost_optuna.front.constraints import violation
from autost_optuna.proxies.convention import DEFAULT
from autost_optuna.search.objective import Objective
from autost_optuna.search.sampler import DeclaredNSGAIISampler
from autost_optuna.search.settings import Plan, Settings
from autost_optuna.units import StrPath


def make_sampler(settings: Settings) -> DeclaredNSGAIISampler:
    """NSGA-II over the study's space, avoiding points that the counted constraints exclude."""
    space, constraints = settings.space, settings.constraints

    def excess(values: Mapping[str, Any]) -> float:
        return violation(constraints.of_counts(space.architecture(values), settings.task))

    return DeclaredNSGAIISampler(
        space.distributions(),
        active=space.active,
        violation=excess if constraints else None,
        population_size=settings.population,
        seed=settings.seed,
    )


def objective_of(plan: Plan, device: str = "cpu") -> Objective:
    """The objective of a study that goes by `plan`, on images that are drawn now."""
    return Objective(
        plan.space,
        plan.task,
        data=plan.data,
        data_root=plan.data_root,
        num_images=plan.images,
        convention=plan.convention or DEFAULT,
        constraints=plan.constraints,
        seed=plan.seed,
        seeds=plan.seeds,
        device=device,
        objectives=plan.objectives,
        rates=plan.rates,
    )


def make_objective(
    settings: Settings,
    data_root: StrPath | None = None,
    device: str = "cpu",
    cache_bytes: int | None = None,
    any_versions: bool = False,
) -> Objective:
    """The objective of a study, on the images that it was created with.

    `cache_bytes` bounds the memory for reuse. ValueError if the images have changed or, unless `any_versions`, if the
    packages that affect a figure have.
    """
    if not any_versions:
        settings.check_versions()
    if settings.data not in NAMES:
        raise ValueError(
            f"the study was measured on images that its program brought ({settings.data!r}), and no command has these; go on "
            "in that program"
        )
    sample = settings.sample(data_root)
    drawn = rate_images(settings.task, sample)
    if drawn.fingerprint != settings.fingerprint:
        raise ValueError(
            f"the {settings.data} images in {sample.data_root} have fingerprint {drawn.fingerprint}, those of the study "
            f"{settings.fingerprint}; give the folder that it was created with as --data-root, or go on from its "
            "results in a new study by autost-optuna study fork"
        )
    return Objective(
        settings.space,
        settings.task,
        images=drawn,
        convention=settings.convention,
        constraints=settings.constraints,
        seed=settings.seed,
        seeds=settings.seeds,
        device=device,
        cache_bytes=cache_bytes,
        objectives=settings.objectives,
        rates=settings.rates,
    )
