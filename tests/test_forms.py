"""Spaces with choices per network: stems, residual streams, stages. Their sizes, parameters, classes and counts."""

import random
import re

import optuna
import pytest
import torch
from makers import products_only
from torch.utils.flop_counter import FlopCounterMode

from autost_optuna import Architecture, Space, SpikingTransformer, Task
from autost_optuna.delivery.report import report_of
from autost_optuna.network.chain import operations
from autost_optuna.proxies.flops import count_macs, count_params
from autost_optuna.search.exact import class_of, count_classes, representatives
from autost_optuna.search.genes import Genes, choices_of
from autost_optuna.search.restore import make_objective
from autost_optuna.search.runner import run
from autost_optuna.search.settings import Plan
from autost_optuna.search.study import create, open_search
from autost_optuna.space.single import values_of

TASK = Task(name="digits", image_size=8, channels=1, num_classes=10, time_steps=2, pooling="0101")
BLOCKS = {"mixer": ["ssa", "qkta", "identity"], "num_heads": [1, 2], "mlp_ratio": [1, 2], "embed_dim": [16, 32]}
PYRAMID = {
    **BLOCKS,
    "depth": [1, 2],
    "stem": ["spikformer", "qkformer"],
    "residual": ["membrane", "spike"],
    "position": ["published", "absent"],
    "stages": [2],
    "stage_depth": [1, 2],
    "widths": ["1/2 1", "1/4 1"],
}
SPACES = {
    "blocks": {**PYRAMID, "embed_dim": [16], "mlp_ratio": [1], "num_heads": [1]},
    "stages": {**PYRAMID, "shared": "stage"},
    "network": {**PYRAMID, "uniform": True},
    "mixers per stage": {**PYRAMID, "embed_dim": [16], "shared": {"mixer": "stage", "mlp_ratio": "network"}},
    "heads per stage": {**PYRAMID, "mixer": ["ssa", "qkta"], "embed_dim": [16], "shared": {"num_heads": "stage"}},
    "heads per network": {
        **BLOCKS,
        "depth": [1, 2],
        "mixer": ["ssa", "depthwise"],
        "kernel": [3, 5],
        "shared": {"mixer": "network", "num_heads": "network", "kernel": "block"},
    },
    "one stage": {
        **BLOCKS,
        "depth": [1, 2],
        "stem": ["sdt", "autost"],
        "convolutions": [2, 4],
        "pooling": ["0011"],
        "feed_forward": ["mlp", "gffn"],
    },
    "only pyramids": {**BLOCKS, "stem": ["qkformer"], "stages": [2], "stage_depth": [1, 2], "uniform": True},
    "time steps": {**BLOCKS, "depth": [1], "time_steps": [1, 2], "pooling": ["0101", "0001"], "uniform": True},
}  # fmt: skip


@pytest.fixture(params=SPACES)
def space(request):
    return Space.from_dict(SPACES[request.param], name=request.param)


def genes_of(space):
    declared = {name: choices_of(name, given) for name, given in space.distributions().items()}
    return Genes(declared, active=space.active)


def test_every_architecture_is_listed_once_and_held(space):
    space.check(TASK)
    every = list(space.enumerate())
    assert len(every) == space.size == len({one.key for one in every})
    assert all(one in space for one in every)
    assert Space.from_dict(space.to_dict()) == space


def test_a_space_holds_only_numbers_of_stages_that_it_offers():
    space = Space.load("examples/pyramid.toml")
    one = Architecture.from_text("C=64,depth=1,mixer=qkta,heads=2,ratio=2,neuron=lif,stem=qkformer")
    assert one not in space
    assert Architecture.from_text(one.to_text().replace("qkformer", "spikingformer")) in space
    assert Architecture.from_text(one.to_text().replace("depth=1", "depth=2") + ",depths=1/1") in space


def test_only_networks_of_one_stage_need_depths():
    given = {**SPACES["only pyramids"], "stages": [1, 2]}
    with pytest.raises(ValueError, match="space s: depth is missing, which networks of one stage need"):
        Space.from_dict(given, name="s")
    with pytest.raises(ValueError, match="lacks the key 'depth'"):
        Space.from_dict({name: given[name] for name in BLOCKS}, name="s")


def test_every_architecture_has_one_set_of_parameters(space):
    genes, every = genes_of(space), set(space.enumerate())
    points = [genes.expressed(point) for point in genes.points()]
    assert {space.architecture(point) for point in points} == every
    assert len(points) == len(every)
    for one in random.Random(0).sample(sorted(every, key=str), min(60, len(every))):
        assert space.architecture(values_of(space, one)) == one


@pytest.mark.slow
def test_one_representative_stands_for_every_class(space):
    every, chosen = list(space.enumerate()), list(representatives(space))
    assert {class_of(one) for one in chosen} == {class_of(one) for one in every}
    assert len(chosen) == count_classes(space)
    if space.sharing.unit == "block":
        assert len(chosen) == len({class_of(one) for one in every}) == space.num_classes
    counted = {}  # equal classes have equal counts
    for one in every:
        counts = count_macs(one, TASK), count_params(one, TASK)
        assert counted.setdefault(class_of(one), counts) == counts


def test_a_trial_is_asked_for_what_its_network_has_and_nothing_else(space):
    for seed in range(20):
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
        trial = study.ask()
        architecture = space.suggest(trial)
        assert trial.params == values_of(space, architecture)
        declared = space.distributions()
        assert all(declared[name] == given for name, given in trial.distributions.items())


def test_choices_that_flops_reward_are_warned_of(cli, tmp_path):
    (tmp_path / "s.toml").write_text(
        "embed_dim = [16]\ndepth = [1]\nnum_heads = [2]\nmlp_ratio = [1]\ntime_steps = [1, 2]\n"
        'pooling = ["0001", "0011"]\nstem = ["sdt"]\nshared = { num_heads = "stage", mlp_ratio = "network" }\n'
    )
    made = cli("study", "create", "mine", "--space", "s.toml", "--task", "digits")
    assert made.exit_code == 0, made.output
    assert "warning: time_steps is a choice of the space: more steps are more FLOPs" in made.stderr
    assert (
        "warning: pooling is a choice of the space: with large grids most FLOPs are attention products" in made.stderr
    )
    assert "next: autost-optuna study run mine --trials 200" in made.stderr
    assert cli("study", "run", "mine", "--trials", "4").exit_code == 0
    shown = cli("study", "show", "mine").stdout
    assert "% of the front's FLOPs are attention products" in shown
    assert re.search(r"^dead layers  at most \d+\.\d% of a member's spike-driven MACs", shown, re.MULTILINE)
    report = report_of(open_search("mine", str(tmp_path / "autost.journal")))
    (text,) = (text for name, text in report.files if name == "space.toml")
    (tmp_path / "again.toml").write_text(text)
    assert Space.load(str(tmp_path / "again.toml")).to_dict() | {"name": ""} == Space.load("s.toml").to_dict() | {
        "name": ""
    }


@pytest.mark.slow
def test_a_search_of_pyramids_repeats_nothing_and_goes_on(tmp_path):
    space = Space.from_dict({**PYRAMID, "shared": "stage"}, name="pyramids")
    storage = str(tmp_path / "s.journal")
    search = create("s", storage, Plan(space=space, task=TASK, population=8))
    run(search, trials=25)
    run(open_search("s", storage), trials=15)
    found = search.candidates()
    assert len({one.architecture for one in found}) == len(found)
    objective = make_objective(search.settings)
    for one in found[:5]:
        again = objective.evaluate(one.architecture)
        assert (again.flops, again.params, again.energy_mj) == (one.flops, one.params, one.energy_mj)
    assert {one.architecture.form.stem for one in found} == {"spikformer", "qkformer"}


@pytest.mark.slow
def test_200_networks_of_families_are_counted_as_torch_counts_them():
    space, task = Space.load("families"), Task.preset("cifar10")
    genes, rng = genes_of(space), random.Random(20)
    for _ in range(200):
        architecture = space.architecture(genes.values(genes.at_random(rng)))
        network = SpikingTransformer(architecture, task, seed=None).eval()
        with FlopCounterMode(display=False) as counter, torch.no_grad(), products_only():
            network(torch.empty(1, *task.input_shape, device="meta"))
        found = {name.partition(".")[2]: sum(each.values()) for name, each in counter.get_flop_counts().items()}
        rows = operations(architecture, task)
        assert {row.name: 2 * row.total_macs for row in rows} == {row.name: found[row.name] for row in rows}
        assert sum(2 * row.total_macs for row in rows) == counter.get_total_flops()
        assert sum(parameter.numel() for parameter in network.parameters()) == count_params(architecture, task)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"stem": ["vit"]}, "stem 'vit' is unknown; choose one of autost, spikformer, "),
        ({"stem": [["sdt"]]}, "stem ['sdt'] is unknown; choose one of autost, spikformer, "),
        ({"feed_forward": [["mlp"]]}, "feed_forward ['mlp'] is unknown; choose one of mlp, "),
        ({"stages": [2], "stem": ["qkformer"], "stage_depth": []}, "stage_depth [] is not a list of choices"),
        ({"widths": ["1/0 1"]}, "widths '1/0 1' are not fractions of the last stage"),
        ({"mixer": ["ssa", "mamba"]}, "mixer 'mamba' is unknown; choose among ssa, "),
        ({"residual": ["both"]}, "residual 'both' is unknown; choose one of membrane, spike"),
        ({"convolutions": [5]}, "convolutions 5 is not 2, 3 or 4"),
        ({"time_steps": [0]}, "time_steps 0 is not a whole number of at least 1"),
        ({"shared": "half"}, "shared 'half' is unknown; use block, stage or network"),
        ({"shared": {"mixer": "half"}}, "shared 'half' is unknown; use block, stage or network"),
        (
            {"shared": ["stage"]},
            "shared ['stage'] is neither one of block, stage, network nor a table such as {mixer = ",
        ),
        (
            {"shared": {"kernel": "stage"}},
            "shared: 'kernel' is no choice of a block here; name some of mixer, num_heads, ",
        ),
        (
            {"shared": {"num_heads": "stage"}},
            "shared: num_heads per stage needs mixers that all have it, and identity has none; share the mixer per stage too",
        ),
        ({"stages": [2], "stem": ["qkformer"]}, "stages: stage_depth needs choices too, such as [1, 2]"),
        ({"stages": [2], "stage_depth": [1]}, "stages: no stem of the space has later stages"),
        ({"stem": ["qkformer"], "stage_depth": [1]}, "stage_depth and widths are of stages; list stages too"),
        (
            {"stem": ["qkformer"], "stages": [2], "stage_depth": [1], "widths": ["1/4 1/2 1"]},
            "widths of 3 stages, and stages [2]; make them agree",
        ),
        ({"stem": ["qkformer"], "position": ["absent"]}, "position: no stem of the space has it; leave it out"),
        (
            {"stages": [1_000_000], "stem": ["qkformer"], "stage_depth": [1]},
            "stages 1000000 are over the bound 8; choose fewer",
        ),
        (
            {"stem": ["qkformer"], "stages": [2], "stage_depth": [1], "widths": ["1/3 1"]},
            "widths: '1/3 1' of embed_dim 16 leave no whole layers in stem qkformer; choose multiples, or other fractions",
        ),
        ({"neuron": ["ilif(levels=0)"]}, "neuron 'ilif(levels=0)': levels 0 is not a whole number of at least 1"),
        ({"pooling": ["01"]}, "pooling '01' is not four flags of 0 and 1"),
    ],
)
def test_a_choice_that_leaves_no_network_is_refused(changes, said):
    with pytest.raises(ValueError, match=r"^space wrong: ") as error:
        Space.from_dict({**BLOCKS, "depth": [1], "shared": "block", **changes}, name="wrong")
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("changes", "task", "said"),
    [
        ({"stem": ["qkformer"], "stages": [4], "stage_depth": [1]}, TASK, "4 stages halve the image 3 times"),
        ({"time_steps": [1, 10]}, Task.preset("nmnist"), "time_steps 1 cannot be chosen for recordings of 10 frames"),
        ({"mixer": ["dssa"], "patch": [4], "stem": ["sdt"]}, TASK, "patch 4 is larger than the 2x2 tokens"),
        ({"convolutions": [2], "stem": ["sdt"]}, TASK, "2 convolutions cannot pool as 0101 says"),
    ],
)
def test_a_space_that_does_not_fit_its_task_is_refused_before_a_study_is_made(changes, task, said, tmp_path):
    space = Space.from_dict({**BLOCKS, "depth": [1], "embed_dim": [64], **changes}, name="wrong")
    path = tmp_path / "s.journal"
    with pytest.raises(ValueError, match=said):
        create("s", str(path), Plan(space=space, task=task, data="digits-saccades" if task.events else "digits"))
    assert not path.exists()
