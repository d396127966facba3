import optuna
import pytest
import torch

from autost_optuna import Architecture, Space, Task
from autost_optuna.network.parts.depthwise import Depthwise
from autost_optuna.network.place import Place
from autost_optuna.search.describe import describe


def module(kernel, side):
    at = Place(width=2, side=side, steps=2, still=False).entering(0, "depthwise")
    made = Depthwise(kernel=kernel).module(at)
    made.initialise(0)
    return made.eval()


def test_a_spike_reaches_the_pixels_around_it_in_its_own_channel():
    made = module(3, side=4)
    made.conv.weight.data = torch.arange(18.0).view(2, 1, 3, 3)
    x = torch.zeros(2, 1, 16, 2)
    x[0, 0, 5, 0] = 2.0  # channel 0, row 1, column 1: h = 1 fires in the first step only
    with torch.no_grad():
        out = made(x).view(2, 4, 4, 2) * (1 + 1e-5) ** 0.5  # normalisation with mean 0 and variance 1
    expected = torch.zeros(2, 4, 4, 2)
    expected[0, :3, :3, 0] = torch.arange(8.0, -1.0, -1.0).view(3, 3)  # the kernel, turned by half a turn
    torch.testing.assert_close(out, expected)


def test_its_rows_by_hand():
    at = Place(width=16, side=4, steps=4, still=False).entering(1, "depthwise")
    neuron, conv = Depthwise(kernel=5).rows(at)
    assert (neuron.name, neuron.neurons) == ("blocks.1.depthwise.neuron", 256)
    assert (conv.name, conv.role, conv.driven_by) == ("blocks.1.depthwise.conv", "depthwise.conv", neuron.name)
    assert conv.macs == 25 * 16 * 16  # 25 weights for each of 16 channels at 16 tokens
    assert conv.params == 25 * 16 + 2 * 16


@pytest.mark.parametrize("kernel", [0, 1, 4, 9, "3", 3.0, True, None])
def test_other_kernels_are_refused(kernel):
    with pytest.raises(ValueError, match="is not one of 3, 5, 7"):
        Depthwise(kernel=kernel)


SPACE = """embed_dim = [16, 32]
depth = [1, 2]
mixer = ["ssa", "depthwise"]
num_heads = [2, 4]
kernel = [3, 5]
mlp_ratio = [1, 2]
"""


@pytest.mark.slow
def test_a_space_of_two_mixers_is_searched_shown_and_read_again(cli, tmp_path):
    (tmp_path / "mixed.toml").write_text(SPACE)
    assert cli("study", "create", "m", "--space", "mixed.toml", "--task", "digits").exit_code == 0
    run = cli("study", "run", "m", "--trials", "40")
    assert run.exit_code == 0, run.output
    front = cli("study", "front", "m")
    assert front.stdout.split("\n")[0].split()[-4:] == ["mixer", "heads", "kernel", "ratio"]
    rows = cli("study", "front", "m", "-f", "csv").stdout.splitlines()
    assert rows[0].startswith("number,embed_dim,depth,")
    assert {"mixer", "num_heads", "kernel", "mlp_ratio"} <= set(rows[0].split(","))
    exact = cli("study", "exact", "m")
    assert exact.exit_code == 0, exact.output
    text = "C=32,depth=2,mixer=depthwise/ssa,heads=-/4,kernel=3/-,ratio=2"
    described = cli("describe", text, "--task", "digits")
    assert "blocks.0.depthwise.conv" in described.stdout
    assert "blocks.1.attention.qk" in described.stdout


def test_only_the_chosen_mixers_genes_are_asked_for(cli, tmp_path):

    (tmp_path / "mixed.toml").write_text(SPACE)
    space = Space.load(str(tmp_path / "mixed.toml"))
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(40):
        trial = study.ask()
        architecture = space.suggest(trial)
        assert architecture in space
        assert space.architecture(trial.params) == architecture
        assert set(trial.params) == space.active(trial.params) <= set(space.distributions())
        for block, part in enumerate(architecture.mixers, 1):
            assert (f"kernel_{block:02d}" in trial.params) == (part.word == "depthwise")
            assert (f"num_heads_{block:02d}" in trial.params) == (part.word == "ssa")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (SPACE.replace("kernel = [3, 5]\n", ""), "kernel: mixer depthwise needs choices for it; list them"),
        (SPACE.replace("num_heads = [2, 4]\n", ""), "num_heads: mixer ssa needs choices for it; list them"),
        (SPACE.replace('"depthwise"]', "]"), "kernel: no mixer of the space uses it; leave it out"),
        (SPACE.replace("depthwise", "pooling"), "mixer 'pooling' is unknown; choose among ssa"),
        (SPACE.replace("[3, 5]", "[3, 4]"), "kernel 4 is not one of 3, 5, 7"),
        (SPACE.replace('["ssa", "depthwise"]', "[]"), "mixer"),
        (SPACE.replace('["ssa", "depthwise"]', '"ssa"'), "mixer 'ssa' is not a list"),
        (SPACE.replace('["ssa", "depthwise"]', '["ssa", "ssa", "depthwise"]'), "names a choice twice"),
        (SPACE.replace('["ssa", "depthwise"]', "[[1], 2]"), "is unknown"),
    ],
)
def test_wrong_spaces_are_one_line(cli, tmp_path, text, said):
    (tmp_path / "wrong.toml").write_text(text)
    found = cli("study", "create", "m", "--space", "wrong.toml", "--task", "digits")
    assert found.exit_code == 2
    assert said in found.stderr
    assert len(found.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "C=32,depth=2,mixer=depthwise/ssa,heads=4,kernel=3/-,ratio=2",
            "a block with mixer depthwise has no num_heads",
        ),
        ("C=32,depth=2,mixer=depthwise/ssa,kernel=3/-,ratio=2", "a block with mixer ssa needs num_heads"),
        ("C=32,depth=1,mixer=x,ratio=2", "mixer 'x' is unknown"),
        ("C=32,depth=1,mixer=depthwise,kernel=a,ratio=2", "kernel='a' is not a whole number"),
        ("C=32,depth=2,mixer=depthwise/ssa/ssa,heads=4,kernel=3,ratio=2", "is not a list of 2 values"),
    ],
)
def test_wrong_texts_are_one_line(cli, text, said):
    found = cli("describe", text, "--task", "digits")
    assert found.exit_code == 2
    assert said in found.stderr
    assert len(found.stderr.splitlines()) == 1


def test_what_it_costs_is_little():

    one = Architecture(embed_dim=32, depth=1, mixer=(Depthwise(kernel=3),), mlp_ratio=(2,))
    other = Architecture.uniform(embed_dim=32, depth=1, num_heads=4, mlp_ratio=2)
    task = Task.preset("digits")
    assert describe(one, task).candidate.energy_mj < describe(other, task).candidate.energy_mj
