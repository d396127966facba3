"""What an architecture is, what it costs, and where its energy goes."""

# %% A spiking transformer: width, depth, and heads and MLP ratio of every block. In a notebook, each object shows a table.
from autost_optuna import Architecture, Task
from autost_optuna.data import Sample
from autost_optuna.search.describe import describe

architecture = Architecture.from_text("C=256,depth=4,heads=8/8/4/4,ratio=4")
task = Task.preset("cifar10")
print(architecture.to_text(), "on", task.name, task.input_shape)

# %% Counted exactly, and estimated from the spikes that the untrained network fires on images; 4 built-in digits here.
description = describe(architecture, task, Sample(images=4))
candidate = description.candidate
print(f"{candidate.params:,} parameters, {candidate.flops / 1e9:.2f} GFLOPs, {candidate.energy_mj:.3f} mJ per image")
print(f"rates: {candidate.provenance}, mean {candidate.mean_rate:.3f}; energy by {candidate.convention}")

# %% The bill: every operation, what drives it, and its share.
for charge in sorted(description.charges, key=lambda charge: -charge.energy_pj)[:6]:
    share = charge.energy_pj * 1e-9 / candidate.energy_mj
    print(f"{charge.name:24} {charge.energy_pj / 1e6:8.1f} µJ  {share:6.1%}  driven by {charge.driven_by}")

# %% The same network without spikes, in 8-bit integers, and how the energy varies over single images.
print(f"without spikes {description.quantised.int8_mj:.3f} mJ")
print(f"single images {candidate.spread.low_mj:.4f} to {candidate.spread.high_mj:.4f} mJ")
