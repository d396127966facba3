"""OptunaHub's form of AutoST's problem: spiking transformers of much capacity and little energy, without training."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna
import optunahub

from autost_optuna import Objective, Space, Task

__all__ = ["Problem"]


class Problem(optunahub.benchmarks.BaseProblem):
    """FLOPs (maximise) and energy in mJ an image at initialisation (minimise) of a spiking transformer.

    `space` is tiny, small, base, FILE.toml or AutoST's FILE.yaml, in which `uniform` gives all blocks of a network the same
    heads and ratio; `task` is a name such as cifar10 or digits, or FILE.toml. Spikes are counted on `images` images of
    `data`, which lies under `data_root` where it is not built in, in networks of weights by `seed`. ValueError where one is
    not known.
    """

    metric_names = ("FLOPs", "energy (mJ)")

    def __init__(
        self,
        space: str = "tiny",
        task: str = "cifar10",
        *,
        uniform: bool = False,
        data: str = "digits",
        data_root: str | None = None,
        images: int = 4,
        seed: int = 0,
    ) -> None:
        self._objective = Objective(
            Space.load(space, uniform=uniform),
            Task.load(task),
            data=data,
            data_root=None if data_root is None else Path(data_root),
            num_images=images,
            seed=seed,
        )

    @property
    def search_space(self) -> dict[str, optuna.distributions.BaseDistribution]:
        """Every parameter that a trial may ask for; those of a block are asked for where the depth reaches it."""
        return self._objective.space.distributions()

    def active(self, params: Mapping[str, Any]) -> set[str]:
        """The parameters that a network of these has: what `DeclaredNSGAIISampler` takes as `active`."""
        return self._objective.space.active(params)

    @property
    def directions(self) -> list[optuna.study.StudyDirection]:
        """FLOPs are maximised, energy is minimised."""
        return [optuna.study.StudyDirection.MAXIMIZE, optuna.study.StudyDirection.MINIMIZE]

    def __call__(self, trial: optuna.Trial) -> tuple[float, float]:
        """(FLOPs, energy in mJ); asks for the active parameters alone and keeps the candidate with the trial."""
        return self._objective(trial)

    def evaluate(self, params: dict[str, Any]) -> tuple[float, float]:
        """(FLOPs, energy in mJ) of parameters by name; those of blocks that the network does not have are ignored."""
        active = self.active(params)
        return self._objective(optuna.trial.FixedTrial({name: params[name] for name in sorted(active)}))
