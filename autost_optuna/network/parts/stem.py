"""AutoST's stem: images to tokens."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from autost_optuna.network.place import Place, pooled_sides
from autost_optuna.network.rows import REAL, Row, Sizes

if TYPE_CHECKING:
    from autost_optuna.network.parts.stem_torch import AutoSTStemModule


@dataclass(frozen=True, kw_only=True, slots=True)
class AutoSTStem:
    """Four convolutions, the first three followed by neurons, plus a position convolution, all 3x3, to `width` channels.

    `pooling` has one flag for each of the four. No neuron follows the fourth: the position convolution reads real values.
    """

    word: ClassVar[str] = "autost"
    name: ClassVar[str] = "stem"
    labels: ClassVar[Mapping[str, str]] = {}
    colours: ClassVar[Mapping[str, str]] = {"convolutions": "#0072b2", "position convolution": "#d55e00"}
    width: int
    pooling: str

    def after(self, at: Place) -> Place:
        """Tokens of the pooled grid; the neurons make every step differ."""
        return replace(at, width=self.width, side=pooled_sides(at.side, self.pooling)[-1], still=False)

    def rows(self, at: Place) -> Iterator[Row]:
        """Convolutions of 9 C D MACs per pixel, each with normalisation, and the neurons behind the first three."""
        widths = at.width, self.width // 8, self.width // 4, self.width // 2, self.width, self.width
        driver, sides = REAL, pooled_sides(at.side, self.pooling)
        for number, (read, written, side) in enumerate(zip(widths, widths[1:], sides, strict=False), 1):
            position = number == 5
            row = at.weighted(
                "position" if position else f"conv{number}",
                "position convolution" if position else "convolutions",
                Sizes(read * side**2, written * side**2),
                macs=9 * read * written * side**2,
                params=9 * read * written + 2 * written,
                driven_by=driver,
            )
            yield replace(row, still=at.still and number == 1, pooled=self.pooling[number - 1 : number] == "1")
            driver = f"neuron{number}" if number < 4 else REAL
            if number < 4:
                yield at.neurons(driver, written * side**2)

    def weights(self, at: Place) -> tuple[object, ...]:
        """The channels of the images and the width."""
        return "stem", at.width, self.width

    def module(self, at: Place) -> "AutoSTStemModule":
        """The twin."""
        from autost_optuna.network.parts.stem_torch import AutoSTStemModule

        return AutoSTStemModule(self, at)
