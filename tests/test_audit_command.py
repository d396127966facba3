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
from autost_optuna.delivery.plots.audit import stages_of
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
class Distances(nn.Module):
    def forward(self, x):
        return torch.cdist(x, x)
class Both(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = Distances()
    def forward(self, x):
        return self.inner(x.flatten(1))
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


def test_the_sentences_for_a_paper_state_every_price_with_its_source(cli, here):
    chip = ROOT / "examples" / "chips" / "accelerator-45nm.toml"
    plain = cli("audit", MINE, *SHAPE, "--energy", str(chip)).stdout
    with_methods = cli("audit", MINE, *SHAPE, "--energy", str(chip), "--methods").stdout
    assert with_methods.startswith(plain)
    said = with_methods[len(plain) :].strip()
    sources = [
        line.split('source = "')[1].split('"')[0] for line in chip.read_text().splitlines() if "source =" in line
    ]
    assert len(sources) > 8
    assert all(source in said for source in sources)
    assert "10 mW of idle power during an inference at 100,000,000,000 multiply-accumulates per second" in said
    assert "or 30.5 pJ" in said
    assert "moving" not in said  # everything that moves is charged
    found = json.loads(cli("audit", MINE, *SHAPE, "-f", "json").stdout)
    assert found["methods"].endswith(
        "It does not charge separately for normalisation, which is folded into weights, pooling, residual additions, biases, "
        "moving weights, reading and writing the states of neurons, updates of neurons, moving activations and spikes and "
        "static power."
    )
    both = cli(
        "audit", MINE, *SHAPE, "--energy", "integers-mac", "--energy", "memory", "--methods", "-f", "latex"
    ).stdout
    assert both.count("The energy of one inference is estimated") == 2
    assert not set("%&#") & set(both.replace(r"\%", "").replace(r"\&", "").replace(r"\#", "").replace(" & ", ""))
    pairs = cli(
        "audit", MINE, *SHAPE, "--energy", "integers-mac", "--energy", "memory", "--methods", "-f", "json"
    ).stdout
    assert [one["methods"][:10] for one in json.loads(pairs)] == ["The energy"] * 2
    assert "are charged as multiply-accumulates of real values" in both


def test_the_plot_has_a_bar_for_every_stage(cli, here):
    (here / "deep.py").write_text(
        "from torch import nn\nfrom spikingjelly.activation_based.neuron import LIFNode\n"
        "def block():\n    return nn.ModuleDict({'q': nn.Linear(16, 16), 'node': LIFNode(step_mode='m')})\n"
        "class Net(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
        "        self.stem, self.blocks, self.head = nn.Conv2d(1, 2, 3), nn.ModuleList([block(), block()]), nn.Linear(16, 3)\n"
        "    def forward(self, x):\n        x = self.stem(x.flatten(0, 1)).flatten(1)[:, :16].unflatten(0, (4, -1))\n"
        "        for one in self.blocks:\n            x = one['node'](one['q'](x))\n        return self.head(x)\n"
    )
    wrote = cli("audit", "deep.py:Net", *SHAPE, "--plot", "deep.json", "--energy", "memory")
    assert wrote.exit_code == 0
    assert "wrote deep.json" in wrote.stderr
    found = json.loads(cli("audit", "deep.py:Net", *SHAPE, "--energy", "memory", "-f", "json").stdout)
    figure = json.loads((here / "deep.json").read_text())
    bars = [one for one in figure["data"] if one.get("xaxis", "x") == "x"]
    stages = dict.fromkeys(figure["layout"]["yaxis"]["categoryarray"], 0.0)
    assert list(stages) == ["stem", "blocks.0", "blocks.1", "head"]
    for bar in bars:
        for stage, energy in zip(bar["y"], bar["x"], strict=True):
            stages[stage] += energy
    for stage, energy in stages.items():
        rows = [row["energy_pj"] for row in found["rows"] if row["module"].startswith(stage)]
        assert energy == pytest.approx(sum(rows) * 1e-9)
    assert {bar["name"] for bar in bars} == {
        "convolutions, real-valued input",
        "linear layers",
        "neuron states",
    }
    assert cli("audit", "deep.py:Net", *SHAPE, "--plot", "deep.html").exit_code == 0
    assert "<html" in (here / "deep.html").read_text()


def test_a_network_without_operations_is_not_drawn(cli, here):
    (here / "empty.py").write_text("from torch import nn\nmake = nn.Flatten\n")
    refused = cli("audit", "empty.py:make", *SHAPE, "--plot", "x.html")
    assert refused.exit_code == 2
    assert "empty.py:make has no operation that costs energy, so nothing can be drawn" in refused.stderr


def test_steps_that_are_typed_are_charged(cli, here):
    (here / "plain.py").write_text("from torch import nn\ndef make():\n    return nn.Linear(8, 3)\n")
    prices = {"mac": 1, "accumulate": 1, "step": 5}
    text = 'name = "c"\n' + "".join(f'{name} = {{ pj = {pj}, source = "s" }}\n' for name, pj in prices.items())
    (here / "c.toml").write_text(text)
    refused = cli("audit", "plain.py:make", "--input", "1x8x8", "--energy", "c.toml")
    assert refused.exit_code == 2
    assert "no neuron in it is known; give steps, their number, in Python" in refused.stderr
    found = json.loads(cli("audit", "plain.py:make", *SHAPE, "--energy", "c.toml", "-f", "json").stdout)
    assert found["rows"][-1]["energy_pj"] == 20


def test_stages_are_the_parts_below_what_all_modules_share():
    assert stages_of(["net.stem.0", "net.blocks.0.q", "net.blocks.1.q", "net.head"]) == [
        "stem.0",
        "blocks.0",
        "blocks.1",
        "head",
    ]
    assert stages_of(["0", "3.conv", ""]) == ["0", "3", "the network itself"]
    assert stages_of(["layers.0", "layers.1"]) == ["0", "1"]
    assert stages_of(["head"]) == ["head"]


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
        ([*OWN, "--plot", "x.pdf"], "x.pdf has no known ending; name it .html"),
        ([*OWN, "--plot", "x.html", "--energy", "memory", "--energy", "integers-mac"], "--plot draws one network "),
        ([*OWN, "--methods", "-f", "csv"], "--methods are sentences, as text or JSON; leave out -f csv"),
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
    assert refused.stderr == "error: no rule counts _cdist_forward in inner; its energy cannot be stated\n"
