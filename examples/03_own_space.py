"""Your own space: its size, its exact front if it can be enumerated, and how close a search comes."""

# %% The choices of every field; a file reads the same, as in narrow.toml.
import os
import tempfile
from pathlib import Path

from autost_optuna import Space, Task
from autost_optuna.front.constraints import Constraints
from autost_optuna.search.runner import run
from autost_optuna.search.settings import Plan
from autost_optuna.search.study import create, find_exact
from autost_optuna.search.summary import reached

TRIALS = int(os.environ.get("TRIALS", 300))

space = Space(name="mine", embed_dim=(32, 48, 64, 96), depth=(1, 2, 3, 4), num_heads=(2, 4), mlp_ratio=(1, 2, 3))
print(f"{space.size:,} architectures in {space.num_classes} classes of equal FLOPs and parameters")
print(Space.load(str(Path(__file__).with_name("narrow.toml"))))

# %% Search it on 8x8 digits, for networks of at most 150,000 parameters.
folder = tempfile.TemporaryDirectory()
search = create(
    "mine",
    f"{folder.name}/autost.journal",
    Plan(space=space, task=Task.preset("digits"), constraints=Constraints(max_params=150_000)),
)
run(search, trials=TRIALS)
for member in search.front()[-3:]:
    print(f"{member.params:,} parameters  {member.energy_mj:.4f} mJ  {member.architecture.to_text()}")

# %% The exact front, without constraints: one architecture of each class, and more to see how these spread.
free = create("free", f"{folder.name}/autost.journal", Plan(space=space, task=Task.preset("digits")))
run(free, trials=TRIALS)
exact = find_exact(free)
near = reached(free)
print(f"exact front of {len(exact.members)} members; {TRIALS} trials reach {near.share:.1%} of its hypervolume")

# %%
folder.cleanup()
