"""NSGA-II whose random numbers depend on the study's seed and the trial's number alone."""

import optuna
from optuna.samplers import NSGAIISampler
from optuna.trial import FrozenTrial


class SpaceExhausted(RuntimeError):  # noqa: N818 - an end, like StopIteration
    """Every architecture of the space has been evaluated, or is at this moment."""


class SeededNSGAIISampler(NSGAIISampler):
    """Optuna's NSGA-II, drawn anew for every trial.

    An interrupted run continues as if it had not been, and processes that share a study and a seed do not repeat each
    other: stock NSGA-II restarts its one stream in each process.
    """

    def __init__(self, *, population_size: int, seed: int) -> None:
        super().__init__(population_size=population_size, seed=seed)
        self._seed = seed

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """Seed both of the sampler's generators by (seed, trial number)."""
        self._rng.rng.seed([self._seed, trial.number, 0])
        self._random_sampler._rng.rng.seed([self._seed, trial.number, 1])
        super().before_trial(study, trial)
