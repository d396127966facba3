"""The head, computed: tokens to logits."""

from torch import Tensor, nn

from autost_optuna.network.layers import STD, SpikeLinear, draw_weights
from autost_optuna.network.parts.head import LinearHead, SpikeHead, StepHead
from autost_optuna.network.place import Place
from autost_optuna.network.weights import fresh, stream


class LinearHeadModule(nn.Linear):
    """A linear layer that reads means over tokens and steps."""

    averages = True

    def __init__(self, part: LinearHead, at: Place) -> None:
        super().__init__(at.width, part.classes)
        self.part, self.at = part, at

    def forward(self, x: Tensor, *, every_step: bool = False) -> Tensor:
        """[T, B, N, C] to logits [B, classes], or those of every step, [T, B, classes], of which they are the mean."""
        return super().forward(x.mean(2 if every_step else (0, 2)))

    def initialise(self, seed: int) -> None:
        """Normal weights with deviation 0.02, truncated at 2; biases 0."""
        nn.init.trunc_normal_(fresh(self).weight, std=STD, generator=stream(seed, *self.part.weights(self.at)))


class StepHeadModule(nn.Linear):
    """A linear layer without bias that reads the means over tokens at every step."""

    averages = True

    def __init__(self, part: StepHead, at: Place) -> None:
        super().__init__(at.width, part.classes, bias=False)
        self.part, self.at = part, at

    def forward(self, x: Tensor, *, every_step: bool = False) -> Tensor:
        """[T, B, N, C] to logits [B, classes], or those of every step, [T, B, classes], of which they are the mean."""
        logits = super().forward(x.mean(2))
        return logits if every_step else logits.mean(0)

    def initialise(self, seed: int) -> None:
        """Normal weights with deviation 0.02, truncated at 2."""
        nn.init.trunc_normal_(fresh(self).weight, std=STD, generator=stream(seed, *self.part.weights(self.at)))


class SpikeHeadModule(nn.Module):
    """Neurons that read the means over tokens, and a linear layer."""

    def __init__(self, part: SpikeHead, at: Place) -> None:
        super().__init__()
        self.part, self.at = part, at
        self.neuron = at.neuron.module()
        self.linear = nn.Linear(at.width, part.classes) if part.once else SpikeLinear(at.width, part.classes)

    def forward(self, x: Tensor, *, every_step: bool = False) -> Tensor:
        """[T, B, N, C] to logits [B, classes], or those of every step, [T, B, classes], of which they are the mean."""
        spikes = self.neuron(x.mean(2))
        if self.part.once and not every_step:
            return self.linear(spikes.mean(0))  # type: ignore[no-any-return]
        logits = self.linear(spikes)
        return logits if every_step else logits.mean(0)  # type: ignore[no-any-return]

    def initialise(self, seed: int) -> None:
        """Normal weights with deviation 0.02, as all layers that read spikes; biases 0."""
        generator = stream(seed, *self.part.weights(self.at))
        fresh(self).linear.weight.data = draw_weights(self.part.classes, self.at.width, generator)
