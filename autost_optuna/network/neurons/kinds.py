"""The kinds of neurons, by their words."""

from autost_optuna.network.neurons import Neuron
from autost_optuna.network.neurons.plif import PLIF

KINDS: dict[str, type[Neuron]] = {kind.word: kind for kind in (PLIF,)}
