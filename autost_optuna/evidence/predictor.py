"""Learn the accuracy of networks from trained ones, with its uncertainty, by what is known of them without training.

Models are scikit-learn's. Which of them predicts, and how wide its intervals are, is decided by predictions of architectures
that were left out of the fit.
"""

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autost_optuna import units
from autost_optuna.evidence.validity import figure_of
from autost_optuna.evidence.verdict import Figure
from autost_optuna.ranks import Floats, kendall, resamples

LEAST = 5  # fewest architectures to learn from
FOLDED = 60  # with more architectures, those of one of FOLDS are left out together
FOLDS = 10
COVERED = 0.8  # share that intervals are to cover
HALF = NormalDist().inv_cdf((1 + COVERED) / 2)  # deviations from the middle to an end
TREES, SAMPLES = 50, 1000
MEAN = "the mean"  # what predicts if no model is better

# A model is fitted to standardised features [n, p] and accuracies [n], and gives means and deviations of others.
Matrix = NDArray[np.float64]
Fitted = Callable[[Matrix], tuple[Floats, Floats]]
Model = Callable[[Matrix, Floats, int], Fitted]


@dataclass(frozen=True, kw_only=True, slots=True)
class Lessons:
    """Features of architectures, by name, and the accuracies that they reached in training, in one order."""

    features: Mapping[str, Sequence[float]]
    accuracies: Sequence[float]

    def __post_init__(self) -> None:
        number = len(self.accuracies)
        if number < LEAST:
            raise ValueError(
                f"nothing can be learned from {units.counted(number, 'architecture')}; train at least {LEAST}"
            )
        for name, values in {**self.features, "accuracy": self.accuracies}.items():
            if len(values) != number:
                raise ValueError(
                    f"feature {name!r} has {len(values)} values for {number} architectures; give one for each"
                )
            if not all(math.isfinite(value) for value in values):
                raise ValueError(f"feature {name!r} has a value that is not a finite number; leave it out")
        if not self.varied:
            raise ValueError("all features are the same for all architectures, so nothing can be learned; name others")
        if len(set(self.accuracies)) == 1:
            raise ValueError("all architectures are equally accurate, so nothing can be learned; train others")

    @property
    def varied(self) -> tuple[str, ...]:
        """The features that are not the same for all."""
        return tuple(name for name, values in self.features.items() if len(set(values)) > 1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Predictor:
    """Accuracies and their deviations by a model of `kind` on `names`, fitted to `lessons`.

    `left_out` are its predictions of the lessons, each from a fit without it, and `deviations` theirs, scaled so that they
    hold on the others. `coverage` is the share of the lessons within their intervals of 80 %. `kendall` is the rank correlation
    of `left_out` with accuracies; `models` are those of every model that was tried, `alone` that of the best single feature,
    and `gain` is by how much the predictor exceeds it, all with 95 % intervals over architectures.
    """

    kind: str
    names: tuple[str, ...]
    left_out: tuple[float, ...]
    deviations: tuple[float, ...]
    coverage: float
    kendall: Figure
    models: Mapping[str, float]
    best: str
    alone: Figure
    gain: Figure
    lessons: Lessons
    _fitted: Fitted = field(repr=False)
    _scale: float = field(repr=False)

    def predict(self, features: Mapping[str, Sequence[float]]) -> tuple[Floats, Floats]:
        """Accuracies [m] of other architectures, and their standard deviations [m]. ValueError if a feature is missing."""
        if lacking := [name for name in self.names if name not in features]:
            raise ValueError(f"feature {lacking[0]!r} is missing; the predictor was fitted to {', '.join(self.names)}")
        means, deviations = self._fitted(_matrix(features, self.names))
        return means, self._scale * deviations

    @property
    def in_words(self) -> str:
        """What it is, and how far it can be trusted."""
        of = units.counted(len(self.names), "feature") if len(self.names) > 1 else f"{self.names[0]} alone"
        tried = ", ".join(f"{name} {value:.2f}" for name, value in self.models.items())
        if self.gain.sure:
            worth = "better" if self.gain.value > 0 else "worse"
        else:
            worth = "no clear difference"
        if self.kind == MEAN:
            return (
                f"nothing was learned from {units.counted(len(self.lessons.accuracies), 'architecture')}: no model predicts "
                f"left-out ones better than the mean of the others; {self.best} alone has Kendall {self.alone.text}"
            )
        learned = units.counted(len(self.lessons.accuracies), "architecture")
        gain = f"difference {self.gain.value:+.2f} ({self.gain.interval}), {worth}"
        return (
            f"predicted by {self.kind} on {of}, learned from {learned}: Kendall {self.kendall.text} on left-out ones "
            f"({tried}); {self.best} alone has {self.alone.text}, {gain}; "
            f"intervals of {COVERED:.0%} cover {self.coverage:.0%}"
        )

    def to_dict(self) -> dict[str, Any]:
        """The JSON form, without the model."""
        names = "kind", "names", "coverage", "models", "best", "left_out", "deviations"
        figures = {name: asdict(getattr(self, name)) for name in ("kendall", "alone", "gain")}
        return {**{name: getattr(self, name) for name in names}, **figures, "in_words": self.in_words}


def learn(lessons: Lessons, seed: int = 0) -> Predictor:
    """Fit the model that ranks left-out architectures best: of all features, or of the one that does so alone.

    Architectures are left out one by one, or with over 60 of them in ten parts.
    """
    y = np.asarray(lessons.accuracies, float)
    folds = _folds(len(y), seed)
    subsets = {kind: (kind, lessons.varied) for kind in MODELS}
    subsets |= {f"{name} alone": ("ridge", (name,)) for name in lessons.varied}
    subsets[MEAN] = (MEAN, lessons.varied[:1])
    models = {**MODELS, MEAN: _mean}
    guesses = {
        said: _left_out(models[kind], _matrix(lessons.features, names), y, folds, seed)
        for said, (kind, names) in subsets.items()
    }
    # The mean of the others is lower the better an architecture is, and would rank it the wrong way round.
    guesses[MEAN] = np.full(len(y), y.mean()), guesses[MEAN][1]
    # What predicts an architecture is chosen by how it ranks the others, so that the choice does not flatter it.
    held = np.concatenate([np.ones((1, len(y))), 1 - np.eye(len(y))]).astype(np.float32)
    worth = {said: np.nan_to_num(kendall(means, y, held)) for said, (means, _) in guesses.items()}
    chosen, *picks = (max(worth, key=lambda said: worth[said][place]) for place in range(len(y) + 1))
    means = np.array([guesses[said][0][place] for place, said in enumerate(picks)])
    spread = np.array([guesses[said][1][place] for place, said in enumerate(picks)])
    scores = np.abs(means - y) / spread
    others = np.array([_scale(np.delete(scores, place)) for place in range(len(y))])
    kind, names = subsets[chosen]
    own_means, own_spread = guesses[chosen]
    singles = {name: np.asarray(lessons.features[name], float) for name in lessons.varied}
    taus = {name: _kendall(values, y) for name, values in singles.items()}
    best = max(taus, key=lambda name: abs(taus[name]))
    if kind == MEAN:
        means = guesses[MEAN][0]
    figures = _figures(means, math.copysign(1, taus[best]) * singles[best], y, seed)
    return Predictor(
        kind=kind,
        names=names,
        left_out=tuple(means.tolist()),
        deviations=tuple((others * spread).tolist()),
        coverage=float((np.abs(means - y) <= HALF * others * spread).mean()),
        kendall=figures[0],
        models={said: _kendall(guesses[said][0], y) for said in MODELS},
        best=best,
        alone=figures[1],
        gain=figures[2],
        lessons=lessons,
        _fitted=fit_model(models[kind], _matrix(lessons.features, names), y, seed),
        _scale=_scale(np.abs(own_means - y) / own_spread),
    )


def _figures(predicted: Floats, single: Floats, y: Floats, seed: int) -> list[Figure]:
    """Kendall's tau of predictions, that of a single feature, and their difference, with intervals over architectures."""
    once = np.ones((1, len(y)), np.float32)
    each = [(kendall(predicted, y, w), kendall(single, y, w)) for w in [once, *resamples(len(y), SAMPLES, seed)]]
    first, second = (
        np.nan_to_num(np.concatenate(values)) for values in zip(*each, strict=True)
    )  # equal ones rank nothing
    return [figure_of(values) for values in (first, second, first - second)]


def _scale(scores: Floats) -> float:
    """By what deviations are multiplied so that COVERED of as large errors lie within HALF of them.

    `scores` are errors in deviations; the rank is that of split conformal prediction (Lei et al., JASA 2018).
    """
    rank = min(len(scores), math.ceil((len(scores) + 1) * COVERED))
    return max(1e-6, float(np.sort(scores)[rank - 1])) / HALF


def _kendall(first: Floats, second: Floats) -> float:
    found = float(kendall(first, second, np.ones((1, len(first)), np.float32))[0])
    return found if math.isfinite(found) else 0.0


def _matrix(features: Mapping[str, Sequence[float]], names: Sequence[str]) -> Matrix:
    return np.stack([np.asarray(features[name], float) for name in names], 1)


def _folds(number: int, seed: int) -> list[NDArray[np.int64]]:
    """What is left out together."""
    order = np.random.default_rng(seed).permutation(number)
    return np.array_split(order, number if number <= FOLDED else FOLDS)


def _left_out(
    model: Model, x: Matrix, y: Floats, folds: Sequence[NDArray[np.int64]], seed: int
) -> tuple[Floats, Floats]:
    """Means and deviations [n] of every architecture, from fits to the others."""
    means, deviations = np.empty(len(y)), np.empty(len(y))
    for left in folds:
        kept = np.setdiff1d(np.arange(len(y)), left)
        means[left], deviations[left] = fit_model(model, x[kept], y[kept], seed)(x[left])
    return means, deviations


def fit_model(model: Model, x: Matrix, y: Floats, seed: int) -> Fitted:
    """Fit a model to features [n, p] and accuracies [n], which it sees with mean 0 and deviation 1."""
    centre, width = x.mean(0), x.std(0)
    width = np.where(width > 0, width, 1.0)
    middle, height = float(y.mean()), float(y.std()) or 1.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a kernel's parameter lies at its bound
        fitted = model((x - centre) / width, (y - middle) / height, seed)

    def predict(others: Matrix) -> tuple[Floats, Floats]:
        means, deviations = fitted((others - centre) / width)
        return middle + height * means, height * np.maximum(deviations, 1e-6)

    return predict


def _gaussian_process(x: Matrix, y: Floats, seed: int, *, noise: bool = True) -> Fitted:
    """A line, what bends smoothly around it, and noise (Rasmussen and Williams, 2006, chapter 2).

    Deviations are those of one training, or without `noise` of what many trainings would reach in the mean.
    """
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import ConstantKernel, DotProduct, Matern, WhiteKernel

    size = math.sqrt(x.shape[1])  # a distance between two architectures grows with the number of features
    kernel: Any = ConstantKernel(0.5 / size**2, (1e-4, 10)) * DotProduct(0.0, "fixed")
    kernel += ConstantKernel(0.5, (1e-3, 10)) * Matern(size, (0.3 * size, 30 * size), nu=2.5)
    kernel += WhiteKernel(0.1, (1e-4, 2))
    model = GaussianProcessRegressor(kernel, alpha=1e-8, random_state=seed).fit(x, y)
    left_out = 0.0 if noise else float(model.kernel_.k2.noise_level)

    def predict(others: Matrix) -> tuple[Floats, Floats]:
        means, deviations = model.predict(others, return_std=True)
        return means, np.sqrt(np.maximum(deviations**2 - left_out, 0.0))

    return predict


def without_noise(x: Matrix, y: Floats, seed: int) -> Fitted:
    """The Gaussian process of `learn`, with deviations of what many trainings would reach in the mean."""
    return _gaussian_process(x, y, seed, noise=False)


def _mean(x: Matrix, y: Floats, seed: int) -> Fitted:
    """The same for all."""
    return lambda others: (np.zeros(len(others)), np.ones(len(others)))


def _ridge(x: Matrix, y: Floats, seed: int) -> Fitted:
    """Linear regression, whose penalty and noise follow from the evidence (MacKay, 1992)."""
    from sklearn.linear_model import BayesianRidge

    model = BayesianRidge().fit(x, y)
    return lambda others: model.predict(others, return_std=True)


def _forest(x: Matrix, y: Floats, seed: int) -> Fitted:
    """Trees on resamples, each as good as any other: their mean and deviation (Breiman, 2001)."""
    from sklearn.ensemble import RandomForestRegressor

    model = RandomForestRegressor(TREES, max_features=0.5, random_state=seed).fit(x, y)

    def predict(others: Matrix) -> tuple[Floats, Floats]:
        each = np.stack([tree.predict(others) for tree in model.estimators_])
        return each.mean(0), each.std(0)

    return predict


MODELS: dict[str, Model] = {"Gaussian process": _gaussian_process, "ridge": _ridge, "forest": _forest}
