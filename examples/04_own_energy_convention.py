"""The energy of one network under several conventions, among them your own chip's."""

# %% A convention says what a MAC, an accumulate, a moved bit and a neuron's step cost. Those of the field are named.
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

from autost_optuna import Architecture, Task
from autost_optuna.proxies.convention import Convention
from autost_optuna.search.describe import describe

MINE = str(Path(__file__).with_name("my_chip.toml"))  # a file with a source for every figure
architecture = Architecture.from_text("C=256,depth=4,heads=8,ratio=4")
task = Task.preset("cifar10")

# %% Where the energy goes under each.
for source in ("horowitz-45nm-fp32", "memory", MINE):
    description = describe(architecture, task, convention=Convention.load(source))
    parts: dict[str, float] = defaultdict(float)
    for charge in description.charges:
        parts[charge.stage if charge.block is None else "blocks"] += charge.energy_pj * 1e-9
    total = description.candidate.energy_mj
    print(f"{total:.4f} mJ per image under {description.candidate.convention}")
    print("   ", ", ".join(f"{part} {energy_mj / total:.1%}" for part, energy_mj in parts.items()))

# %% What if accumulates cost half on the next chip? Figures of two conventions are never compared by accident: names differ.
mine = Convention.load(MINE)
cost = replace(mine.accumulate, pj=mine.accumulate.pj / 2)
next_chip = replace(mine, name="my-next-chip", accumulate=cost)
print(f"{describe(architecture, task, convention=next_chip).candidate.energy_mj:.4f} mJ under {next_chip.name}")
