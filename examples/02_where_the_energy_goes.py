"""Ask where an architecture's energy goes, part by part, and under which convention."""

from collections import defaultdict
from pathlib import Path

from autost_optuna import Architecture, Task
from autost_optuna.objective import describe
from autost_optuna.proxies.convention import Convention

architecture = Architecture.from_text("C=256,depth=4,heads=8,ratio=4")
for convention in ("horowitz-45nm-fp32", "memory", str(Path(__file__).with_name("my_chip.toml"))):
    description = describe(architecture, Task.preset("cifar10"), convention=Convention.load(convention))
    parts: dict[str, float] = defaultdict(float)
    for charge in description.charges:
        parts[charge.stage] += charge.energy_pj * 1e-9
    total = description.candidate.energy_mj
    print(f"{total:.4f} mJ an image under {description.candidate.convention}")
    for part, energy_mj in parts.items():
        print(f"    {part:20} {energy_mj:.4f} mJ  {energy_mj / total:6.1%}")
