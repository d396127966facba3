"""A network of every mixer and each kind of neuron is trained, stopped, continued, exported and loaded."""

import pytest
import torch

from autost_optuna import Architecture, Space, Task, load
from autost_optuna.data import load as load_data
from autost_optuna.delivery.export import Contents, export
from autost_optuna.network.form import Form
from autost_optuna.network.neurons.kinds import KINDS as NEURONS
from autost_optuna.network.parts.kinds import MIXERS
from autost_optuna.search import study as studies
from autost_optuna.search.runner import run
from autost_optuna.search.settings import Plan
from autost_optuna.training import checkpoint
from autost_optuna.training.recipe import Recipe
from autost_optuna.training.resume import Assignment, Stopped
from autost_optuna.training.trainer import TrainCallbacks, TrainOptions, train

TASK = Task(name="digits", image_size=8, channels=1, num_classes=10, time_steps=2, pooling="0001")
HEADS = {"num_heads": 2}
MIXED = (
    *(MIXERS["depthwise"](kernel=5), MIXERS["ssa"](**HEADS), MIXERS["identity"](), MIXERS["sdsa"]()),
    *(MIXERS["qkta"](**HEADS), MIXERS["dssa"](**HEADS, patch=2), MIXERS["qkca"](), MIXERS["sdsa-pooled"](**HEADS)),
)
STAGES = {"depths": (4, 4)}
# Each kind of neuron, and each kind of stream with stages.
KINDS = [
    *((neuron, Form()) for neuron in NEURONS.values()),
    (NEURONS["lif"], Form(stem="qkformer", residual="spike", **STAGES)),
    (NEURONS["lif"], Form(stem="maxformer", feed_forward="gffn", time_steps=3, **STAGES)),
]
RECIPE = Recipe(epochs=2, batch_size=32, images=128)
ON_CPU = TrainOptions(accelerator="cpu")


@pytest.mark.slow
@pytest.mark.parametrize(("neuron", "form"), KINDS, ids=str)
def test_every_part_is_trained_and_goes_on_to_the_same_end(neuron, form, tmp_path):
    assert {part.word for part in MIXED} == set(MIXERS)
    architecture = Architecture(
        embed_dim=16, depth=8, mixer=MIXED, mlp_ratio=(1, 2) * 4, neuron=neuron(tau=2.5), form=form
    )
    digits = load_data("digits", TASK)
    asked = Assignment(architecture, TASK, digits, RECIPE)
    whole = train(asked, tmp_path / "whole", options=ON_CPU)
    passed = []
    with pytest.raises(Stopped):
        train(
            asked,
            tmp_path / "parts",
            options=ON_CPU,
            callbacks=TrainCallbacks(
                on_batch=lambda epoch, batch, batches: passed.append((epoch, batch)), stopped=lambda: (1, 1) in passed
            ),
        )
    resumed = train(asked, tmp_path / "parts", options=ON_CPU)
    one, other = (checkpoint.load(trained.path)[0] for trained in (whole, resumed))
    for name, value in one.items():
        torch.testing.assert_close(other[name], value, rtol=1e-4, atol=1e-5)
    network, _ = checkpoint.load_trained(whole.path, architecture, TASK)
    assert network.architecture == architecture


@pytest.mark.slow
@pytest.mark.parametrize(
    "form",
    [
        {},
        {"stem": ("qkformer",), "residual": ("spike",), "stages": (2,), "stage_depth": (1,), "feed_forward": ("gffn",)},
    ],
    ids=["AutoST", "a pyramid of spikes"],
)
def test_a_member_of_a_mixed_space_is_taken_away_and_loaded(form, tmp_path):
    space = Space(
        name="mixed",
        embed_dim=(16,),
        depth=(2,),
        mixer=("depthwise", "identity"),
        genes={"kernel": (3,)},
        mlp_ratio=(1, 2),
        neuron=("lif",),
        form=form,
    )
    search = studies.create("mixed", str(tmp_path / "m.journal"), Plan(space=space, task=TASK))
    run(search, trials=4)
    member = search.candidates()[0]
    path = export(search, member, tmp_path / "bundle", Contents(plain=True))
    network = load(path)
    assert network.architecture == member.architecture
    assert not (path / "autost.yaml").exists()
    assert "autost.yaml" not in (path / "README.md").read_text()
    scope = {"__file__": str(path / "model.py"), "__name__": "model"}
    exec((path / "model.py").read_text(), scope)
    images = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(scope["load"]()(images), network(images))
