"""autost-optuna audit: networks of a user's own code."""

import csv
import io
import json
import shutil

import numpy as np
import pytest
import torch
from makers import ROOT
from safetensors.torch import save_file

from autost_optuna import audit
from autost_optuna.proxies.foreign import make_network

MINE = "my_network.py:make"
SHAPE = ("--input", "1x8x8", "--steps", "4")
OWN = ("code.py:network", "--input", "1x8x8")
CODE = """
import torch
from torch import nn

state = []
network = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
class Counts(nn.Module):
    def __init__(self):
        super().__init__()
        self.calls, self.head = 0, nn.Linear(64, 3)
    def forward(self, x):
        self.calls += 1
        return self.head((x.flatten(1) > self.calls / 4).float())
class Both(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Bilinear(64, 64, 2)
    def forward(self, x):
        return self.inner(x.flatten(1), x.flatten(1))
class complains(nn.Module):
    def forward(self, x):
        raise ValueError("two\\nlines")
def fails():
    raise ZeroDivisionError("never\\nthis")
def nothing():
    return 3
def needs(size):
    return network
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "examples" / "my_network.py", tmp_path)
    (tmp_path / "code.py").write_text(CODE)
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "__init__.py").write_text("from my_network import make")
    return tmp_path


def test_it_says_what_the_function_says(cli, here):
    found = cli("audit", MINE, *SHAPE, "--data", "digits", "-f", "json")
    assert found.exit_code == 0, found.output
    said = json.loads(found.stdout)
    assert said["network"] == MINE
    assert [(row["module"], row["kind"]) for row in said["rows"]] == [("0", "mac"), ("5", "ac")]
    assert said["energy_mj"] == pytest.approx(sum(row["energy_pj"] for row in said["rows"]) * 1e-9)
    assert "inputs: 4 of digits; weights as its code draws them, normalised by the batch" in found.stderr
    (first, second) = csv.DictReader(io.StringIO(cli("audit", MINE, *SHAPE, "--data", "digits", "-f", "csv").stdout))
    assert (first["module"], first["accumulates"]) == ("0", "")
    assert float(second["accumulates"]) == said["rows"][1]["accumulates"]
    table = cli("audit", MINE, *SHAPE, "--data", "digits").stdout
    assert table.splitlines()[-1].startswith("1")
    assert "nJ per image under horowitz-45nm-fp32, 4 images; not charged: " in table
    assert (
        cli("audit", "own:make", *SHAPE, "--data", "digits", "-f", "json").stdout.replace("own:make", MINE)
        == found.stdout
    )


def test_weights_and_inputs_come_from_files(cli, here):
    torch.manual_seed(5)
    network = make_network("my_network.py:make")
    x = torch.rand(6, 1, 8, 8)
    for _ in range(3):
        network.train()(4 * x.repeat(4, 1, 1, 1, 1))
        from spikingjelly.activation_based import functional

        functional.reset_net(network)
    network.eval()
    expected = audit(network, x[:5].repeat(4, 1, 1, 1, 1), images=5).to_dict()["rows"]
    save_file({name: value.clone() for name, value in network.state_dict().items()}, "w.safetensors")
    torch.save({"state_dict": {f"module.{name}": value for name, value in network.state_dict().items()}}, "w.pth")
    np.save("x.npy", x.numpy())
    torch.save(x, "x.pt")
    for weights, data in (("w.safetensors", "x.npy"), ("w.pth", "x.pt")):
        given = ("--checkpoint", weights, "--data", data, "--images", "5", "-f", "json")
        found = cli("audit", MINE, *SHAPE, *given)
        assert found.exit_code == 0, found.output
        assert json.loads(found.stdout)["rows"] == json.loads(json.dumps(expected))
        assert f"inputs: 5 of {data}; weights of {weights}" in found.stderr


def test_several_networks_and_conventions_are_one_table(cli, here):
    both = ("--energy", "horowitz-45nm-fp32", "--energy", "integers-mac")
    found = cli("audit", MINE, "own:make", *SHAPE, *both, "-f", "json")
    assert found.exit_code == 0, found.output
    rows = json.loads(found.stdout)
    assert [(row["network"], row["convention"]) for row in rows] == [
        (network, name) for network in (MINE, "own:make") for name in ("horowitz-45nm-fp32", "integers-mac")
    ]
    assert len({row["energy_mj"] for row in rows}) == 1  # one network twice, without sums of spikes
    assert cli("audit", MINE, "own:make", *SHAPE).stdout.splitlines()[0].split()[0] == "network"
    latex = cli("audit", MINE, "own:make", *SHAPE, "-f", "latex").stdout.splitlines()
    assert latex[:3] == [r"\begin{tabular}{llrrr}", r"\toprule", r"network & convention & MACs & accumulates & mJ \\"]
    assert latex[4].startswith(r"my\_network.py:make & horowitz-45nm-fp32 & 36,864 & ")
    assert latex[-1] == r"\end{tabular}"
    markdown = cli("audit", MINE, *SHAPE, "-f", "markdown").stdout.splitlines()
    assert markdown[0].startswith("| module | operation | calls | MACs | rate | ")
    assert markdown[1].startswith("| :--- | :--- | ---: | ")
    assert [line.split(" | ")[0] for line in markdown[2:]] == ["| 0", "| 5"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["my_network.py", *SHAPE],
            "network 'my_network.py' names no function; write package.module:make or FILE.py:make",
        ),
        (["nowhere.py:make", *SHAPE], "nowhere.py cannot be imported (there is no file nowhere.py); "),
        (
            ["no.where:make", *SHAPE],
            "no.where cannot be imported (No module named 'no'); run the command beside your code",
        ),
        (["code.py:none", *SHAPE], "code.py has no none; name a function or a network that it defines"),
        (["code.py:fails", *SHAPE], "code.py:fails cannot be called (never this); it has to work without arguments"),
        (["code.py:needs", *SHAPE], "code.py:needs cannot be called (needs() missing 1 required positional argument: "),
        (["code.py:nothing", *SHAPE], "code.py:nothing returns int, no torch.nn.Module; return the network"),
        (["code.py:network", "--input", "3x9x9"], "code.py:network does not run on inputs (4, 3, 9, 9) ("),
        (["code.py:network", "--input", "8"], "code.py:network does not run on inputs (4, 8) ("),
        (
            ["code.py:network", "--input", "1x8xa"],
            "input '1x8xa' is not a shape; write channels, height and width such as ",
        ),
        (
            ["code.py:Counts", "--input", "1x8x8"],
            "a second run of code.py:Counts differs from the first: it keeps a state or ",
        ),
        (
            [*OWN, "--data", "x.npy"],
            "there is no file x.npy; save it by numpy.save or torch.save",
        ),
        ([*OWN, "--data", "code.pt"], "code.pt holds no array ("),
        ([*OWN, "--data", "mnist"], "no data 'mnist'; choose one of "),
        (
            [*OWN, "--checkpoint", "no.pth"],
            "there is no file no.pth; save network.state_dict() by torch.save or safetensors",
        ),
        ([*OWN, "--checkpoint", "code.pt"], "code.pt holds no plain weights ("),
        (
            [*OWN, "--checkpoint", "other.pth"],
            "the weights in other.pth are of another network (",
        ),
        (
            [*OWN, "--energy", "static-once"],
            "static-once charges the first convolution of a still ",
        ),
        (
            ["code.py:network", MINE, "--input", "1x8x8", "--checkpoint", "other.pth"],
            "--checkpoint holds the weights of one ",
        ),
    ],
    ids=lambda value: "" if isinstance(value, list) else value[:30],
)
def test_wrong_input_is_one_line(cli, here, words, said):
    (here / "code.pt").write_text("no weights")
    torch.save({"weight": torch.ones(2)}, "other.pth")
    refused = cli("audit", *words)
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert refused.stderr.startswith(f"error: {said}")
    assert refused.stderr.count("\n") == 1


def test_what_no_rule_counts_is_a_failed_run(cli, here):
    refused = cli("audit", "code.py:Both", "--input", "1x8x8")
    assert refused.exit_code == 1
    assert refused.stderr == "error: no rule counts _trilinear in inner; its energy cannot be stated\n"
