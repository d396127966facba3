"""A spiking network of your own, in plain torch with SpikingJelly's neurons, to be audited."""

from spikingjelly.activation_based import layer, neuron
from torch import nn


def make() -> nn.Module:
    """Images [T, B, 1, 8, 8] to logits [T, B, 10]."""
    return nn.Sequential(
        layer.Conv2d(1, 16, 3, padding=1, bias=False, step_mode="m"),
        layer.BatchNorm2d(16, step_mode="m"),
        neuron.LIFNode(step_mode="m"),
        layer.MaxPool2d(2, step_mode="m"),
        layer.Flatten(step_mode="m"),
        layer.Linear(256, 10, step_mode="m"),
    )
