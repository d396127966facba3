"""The parameters that an Optuna trial is asked for, one per choice."""

import itertools
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from optuna import Trial
    from optuna.distributions import BaseDistribution


OUTSIDE = "outside"  # the user attribute of a trial whose values are outside the space


def distribution_of(choices: tuple[Any, ...]) -> "BaseDistribution":
    """An integer range if the choices are evenly spaced integers, else a category."""
    from optuna.distributions import CategoricalDistribution, IntDistribution

    if len(choices) > 1 and all(isinstance(choice, int) for choice in choices):
        steps = {int(after - before) for before, after in itertools.pairwise(choices)}
        if len(steps) == 1:
            return IntDistribution(int(choices[0]), int(choices[-1]), step=steps.pop())
    return CategoricalDistribution(choices)


def suggest_choice(trial: "Trial", name: str, choices: tuple[Any, ...]) -> Any:
    """Ask for one choice, from its distribution. TrialPruned if the trial has another value."""
    from optuna import TrialPruned
    from optuna.distributions import IntDistribution

    # Look at an enqueued value before Optuna does, which raises ValueError for an unknown category.
    value: Any = getattr(trial, "_fixed_params", {}).get(name, choices[0])
    if value in choices:
        given = distribution_of(choices)
        if isinstance(given, IntDistribution):
            value = trial.suggest_int(name, given.low, given.high, step=given.step)
        else:
            value = trial.suggest_categorical(name, choices)
    if value not in choices:  # some samplers, such as PartialFixedSampler, ignore the distribution
        reason = f"outside the space: {name} {value!r} is none of {', '.join(map(str, choices))}"
        trial.set_user_attr(OUTSIDE, reason)
        raise TrialPruned(reason)
    return choices[choices.index(value)]  # an enqueued 32.0 is the choice 32
