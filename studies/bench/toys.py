"""Two toy problems of a spiking transformer's form whose exact front is known: FLOPs up, energy down, in closed form.

`SixGenes` has 59,136 points, each computed. `PerBlock` has 13,060,693,980, as AutoST's small space: heads and ratio of every
block are genes that a shallower network does not express; its front follows by dynamic programming, since energies add up.
"""

import itertools
import math

from optuna.distributions import CategoricalDistribution, IntDistribution

TOKENS, STEPS = 64, 4


def block_macs(width, ratio):
    """Weighted sums of a block a step: four projections and an MLP."""
    return TOKENS * (4 + 2 * ratio) * width**2


class SixGenes:
    """Width, depth, heads, ratio, time steps and firing threshold of uniform blocks."""

    name = "six genes"

    def __init__(self):
        self.space = {
            "width": IntDistribution(192, 512, step=32),
            "depth": IntDistribution(1, 12),
            "heads": CategoricalDistribution((2, 4, 8, 16)),
            "ratio": CategoricalDistribution((2, 2.5, 3, 3.5, 4, 4.5, 5)),
            "steps": IntDistribution(1, 4),
            "threshold": CategoricalDistribution((0.5, 0.75, 1.0, 1.25)),
        }
        self.active = None
        choices = [range(192, 513, 32), range(1, 13), (2, 4, 8, 16), (2, 2.5, 3, 3.5, 4, 4.5, 5), range(1, 5)]
        names = list(self.space)
        every = itertools.product(*choices, (0.5, 0.75, 1.0, 1.25))
        self.front = nondominated(self.values(dict(zip(names, point, strict=True))) for point in every)

    def suggest(self, trial):
        return {name: trial._suggest(name, given) for name, given in self.space.items()}

    def values(self, p):
        """(capacity in GFLOPs that still fire, energy in mJ)."""
        macs = p["depth"] * p["steps"] * block_macs(p["width"], p["ratio"])
        stem = p["steps"] * 9 * TOKENS * p["width"] ** 2  # the position convolution reads real values
        dim = p["width"] / p["heads"]  # of a head: attention fires most where it is neither wide nor narrow
        rate = 0.2 * math.exp(-0.07 * p["depth"]) / p["threshold"] * (1 + 0.5 * math.exp(-(math.log2(dim / 40) ** 2)))
        alive = 1 - math.exp(-20 * rate * p["steps"] ** 0.5)  # of the capacity, what does not starve of spikes
        return 2 * macs * alive / 1e9, (4.6 * stem + 0.9 * rate * macs) * 1e-9


class PerBlock:
    """Heads and ratio of every block; each block has heads of its own that it fires least with."""

    name = "per block"

    def __init__(self):
        self.space = {"width": IntDistribution(256, 512, step=64), "depth": IntDistribution(2, 12)}
        for block in range(1, 13):
            self.space[f"heads_{block:02d}"] = IntDistribution(4, 8, step=4)
            self.space[f"ratio_{block:02d}"] = IntDistribution(3, 5)
        self.front = nondominated(self._thriftiest())

    def active(self, values):
        blocks = range(1, values["depth"] + 1)
        return {"width", "depth", *(f"{n}_{b:02d}" for n in ("heads", "ratio") for b in blocks)}

    def suggest(self, trial):
        found = {name: trial._suggest(name, self.space[name]) for name in ("width", "depth")}
        for block in range(1, found["depth"] + 1):
            for name in (f"heads_{block:02d}", f"ratio_{block:02d}"):
                found[name] = trial._suggest(name, self.space[name])
        return found

    def stem_pj(self, width):
        """The stem's convolutions, which read spikes here: were they real-valued, the blocks would hardly matter."""
        return 0.9 * 0.07 * STEPS * 9 * TOKENS * width**2

    def block_pj(self, width, block, heads, ratio):
        """Energy of a block: the first ones fire more, heads that do not suit it fire more, and its MLP by its place."""
        suits = (block * 7) % 5 < 2
        attention = 0.2 * math.exp(-0.06 * block) * (1 if (heads == 8) == suits else 3)
        mlp = 0.06 * (1 + 0.8 * math.sin(2.1 * block))
        return 0.9 * STEPS * TOKENS * width**2 * (4 * attention + 2 * ratio * mlp)

    def values(self, p):
        """(GFLOPs, energy in mJ)."""
        blocks = [(b, p[f"heads_{b:02d}"], p[f"ratio_{b:02d}"]) for b in range(1, p["depth"] + 1)]
        macs = sum(STEPS * block_macs(p["width"], ratio) for _, _, ratio in blocks)
        spent = self.stem_pj(p["width"]) + sum(self.block_pj(p["width"], *block) for block in blocks)
        return 2 * macs / 1e9, spent * 1e-9

    def _thriftiest(self):
        """The least energy at every (width, depth, sum of ratios)."""
        for width in range(256, 513, 64):
            least = {0: self.stem_pj(width)}
            for block in range(1, 13):
                longer = {}
                for (total, spent), heads, ratio in itertools.product(least.items(), (4, 8), (3, 4, 5)):
                    after = spent + self.block_pj(width, block, heads, ratio)
                    longer[total + ratio] = min(after, longer.get(total + ratio, math.inf))
                least = longer
                if block >= 2:
                    for total, spent in least.items():
                        macs = STEPS * TOKENS * width**2 * (4 * block + 2 * total)
                        yield 2 * macs / 1e9, spent * 1e-9


def nondominated(points):
    """The front of (gain, cost) pairs, by ascending cost."""
    front = []
    for gain, cost in sorted(points, key=lambda point: (point[1], -point[0])):
        if not front or gain > front[-1][0]:
            front.append((gain, cost))
    return front


def hypervolume(points, exact):
    """Hypervolume of the points as a share of the exact front's, in axes scaled to the exact front.

    The reference point is the exact front's nadir: only points among it count.
    """
    worst_gain, worst_cost = exact[0][0], exact[-1][1]

    def area(front):
        total, before = 0.0, worst_gain
        for gain, cost in front:
            if gain > before and cost < worst_cost:
                total += (gain - before) * (worst_cost - cost)
                before = gain
        return total

    return area(nondominated(points)) / area(exact)
