"""The head, computed: tokens to logits."""

from torch import Tensor, nn

from autost_optuna.network.layers import STD
from autost_optuna.network.parts.head import LinearHead
from autost_optuna.network.place import Place
from autost_optuna.network.weights import fresh, stream


class LinearHeadModule(nn.Linear):
    """A linear layer that reads means of real values."""

    def __init__(self, part: LinearHead, at: Place) -> None:
        super().__init__(at.width, part.classes)
        self.part, self.at = part, at

    def forward(self, x: Tensor, *, every_step: bool = False) -> Tensor:
        """[T, B, N, C] to logits [B, classes], or those of every step, [T, B, classes], of which they are the mean."""
        return super().forward(x.mean(2 if every_step else (0, 2)))

    def initialise(self, seed: int) -> None:
        """Normal weights with deviation 0.02, truncated at 2; biases 0."""
        nn.init.trunc_normal_(fresh(self).weight, std=STD, generator=stream(seed, *self.part.weights(self.at)))
