"""The command line as a person types it: outputs, formats, and one line for every mistake."""

import csv
import io
import json
import math
import os
import re
import shlex
import shutil
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import pytest
import warm
from makers import TOY_FILE, TRIALS, command_line, examples, packed_figures, store, write_cifar10
from safetensors import safe_open
from safetensors.torch import save_file

from autost_optuna import Architecture, load
from autost_optuna.cli import main
from autost_optuna.delivery import quickstart
from autost_optuna.delivery.board import figures_of
from autost_optuna.network.chain import operations
from autost_optuna.network.rows import REAL
from autost_optuna.proxies.convention import CONVENTIONS, Convention
from autost_optuna.search.study import open_search
from autost_optuna.training.worth import ELSEWHERE
from autost_optuna.units import counted, duration, energy, one_line, share

ROOT = Path(__file__).parent.parent


@pytest.fixture
def demo(cli, finished, tmp_path):
    """A folder with a finished study "demo"."""
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    return cli


@pytest.fixture(scope="module")
def trained_once(finished, tmp_path_factory):
    """The same folder in which trial 0 and the knee were trained, to be copied and not changed."""
    folder = tmp_path_factory.mktemp("trained") / "demo"
    shutil.copytree(finished, folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for chosen in (["--trial", "0"], ["--knee"]):
            made = command_line("train", "demo", *chosen, "--epochs", "1")
            assert made.exit_code == 0, made.output
    return folder


@pytest.fixture
def trained_demo(cli, trained_once, tmp_path):
    shutil.copytree(trained_once, tmp_path, dirs_exist_ok=True)
    return cli


def answer(result):
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.mark.slow
def test_show_in_json_has_what_the_contract_names(demo):
    shown = answer(demo("study", "show", "demo", "-f", "json"))
    assert shown["trials"] == TRIALS
    assert 1 <= shown["front_size"] <= shown["unique"] <= TRIALS
    assert shown["space_size"] == 2 * (4 + 16)
    assert 0 < shown["hypervolume"] <= 1
    assert shown["nondominated_share"] == shown["front_size"] / shown["unique"]
    assert -1 <= shown["spearman"] <= 1
    table = demo("study", "show", "demo").stdout
    assert f"{TRIALS} complete" in table
    assert "Spearman" in table
    assert f"proxy        {ELSEWHERE}\n" in table.replace("\n             those", "; those")


def test_front_in_all_forms_is_the_same_front(demo):
    rows = answer(demo("study", "front", "demo", "-f", "json"))
    assert [set(row) for row in rows] == [{"number", "architecture", "flops", "energy_mj", "params", "rates"}] * len(
        rows
    )
    assert rows == sorted(rows, key=lambda row: row["energy_mj"])
    lines = list(csv.DictReader(io.StringIO(demo("study", "front", "demo", "-f", "csv").stdout)))
    assert [float(line["energy_mj"]) for line in lines] == [row["energy_mj"] for row in rows]
    assert lines[0]["num_heads"] == "/".join(map(str, rows[0]["architecture"]["num_heads"]))
    table = demo("study", "front", "demo").stdout.splitlines()
    assert len(table) == len(rows) + 1
    assert sum("*" in line for line in table) == 1
    knee = answer(demo("study", "front", "demo", "--pick", "knee", "-f", "json"))
    assert len(knee) == 1
    assert knee[0] in rows


def test_list_names_the_studies(demo):
    assert [(row["name"], row["trials"]) for row in answer(demo("study", "list", "-f", "json"))] == [("demo", TRIALS)]
    assert demo("study", "list", "-f", "csv").stdout.splitlines()[1] == (
        f"demo,{TRIALS},toy,digits,digits,horowitz-45nm-fp32"
    )
    assert "demo" in demo("study", "list").stdout


@pytest.mark.slow
def test_describe_reads_all_four_forms(demo, tmp_path):
    row = answer(demo("study", "front", "demo", "-f", "json"))[0]
    architecture = Architecture.from_dict(row["architecture"])
    (tmp_path / "a.json").write_text(json.dumps(architecture.to_dict()))
    (tmp_path / "a.yaml").write_text(json.dumps(architecture.to_autost()))
    long = (
        architecture.to_text().replace("C=", "embed_dim=").replace("heads", "num_heads").replace("ratio", "mlp_ratio")
    )
    for source in (f"demo:{row['number']}", "a.json", "a.yaml", architecture.to_text(), long):
        found = answer(demo("describe", source, "--task", "digits", "-f", "json"))
        assert found["architecture"] == row["architecture"]
        assert found["energy_mj"] == row["energy_mj"]
        assert (found["flops"], found["params"]) == (row["flops"], row["params"])
        assert found["flops"] == 2 * found["macs"] == 2 * sum(o["macs"] * o["steps"] for o in found["operations"])
        assert sum(o["energy_pj"] for o in found["operations"]) * 1e-9 == pytest.approx(found["energy_mj"], rel=1e-12)
    keys = {"name", "macs", "steps", "driven_by", "rate", "accumulates", "kind", "moved_bits", "energy_pj", "share"}
    assert all(set(o) == keys for o in found["operations"])
    assert all((o["rate"] is None) == (o["kind"] == "mac") for o in found["operations"])
    assert len(demo("describe", "a.json", "--task", "digits", "-f", "csv").stdout.splitlines()) == 1 + len(
        found["operations"]
    )
    table = demo("describe", "a.json", "--task", "digits").stdout
    assert "blocks.0.attention.qk" in table
    assert "horowitz-45nm-fp32" in table


@pytest.mark.slow
def test_the_audit_adds_up_to_the_headline_in_all_forms(cli, tmp_path):
    (tmp_path / "chip.toml").write_text((ROOT / "examples" / "my_chip.toml").read_text())
    base = ["describe", "C=64,depth=2,heads=4,ratio=2", "--task", "digits"]
    for convention in (*CONVENTIONS, "chip.toml"):
        for counting in ("rate", "exact"):
            options = [*base, "--energy", convention, "--counting", counting]
            found = answer(cli(*options, "-f", "json"))
            assert math.fsum(o["energy_pj"] for o in found["operations"]) * 1e-9 == found["energy_mj"]
            assert math.fsum(o["share"] for o in found["operations"]) == pytest.approx(1)
            assert found["energy_mj"] == found[f"{counting}_mj"]
            lines = list(csv.DictReader(io.StringIO(cli(*options, "-f", "csv").stdout)))
            assert math.fsum(float(line["energy_pj"]) for line in lines) * 1e-9 == found["energy_mj"]
            table = cli(*options).stdout.splitlines()
            last = next(i for i, line in enumerate(table) if line.startswith("total"))
            printed = [int(line.split()[-2].replace(",", "")) for line in table[1 : last + 1]]
            assert sum(printed[:-1]) == printed[-1] == round(found["energy_mj"] * 1e9)
            assert len(lines) == last - 1 == len(found["operations"])
            assert found["convention"] in "".join(table)
    assert found["convention"].startswith("my-chip#")
    assert {o["kind"] for o in found["operations"]} == {"mac", "ac", "state", "static"}


def test_describe_shows_spread_and_the_network_without_spikes(cli):
    base = ["describe", "C=64,depth=2,heads=4,ratio=2", "--task", "digits", "--images", "3", "--seeds", "2"]
    found = answer(cli(*base, "-f", "json"))
    assert (found["images"], found["seeds"]) == (3, 2)
    spread = found["spread"]
    assert 0 < spread["low_mj"] < found["energy_mj"] < spread["high_mj"]
    assert min(spread["std_mj"], spread["std_over_seeds_mj"]) > 0
    assert spread["error_mj"] == pytest.approx(spread["std_over_seeds_mj"] / 2**0.5)
    assert found["quantised"]["activation_bits"] == 3
    assert found["quantised"]["int8_mj"] == pytest.approx(found["macs"] * 0.23e-9 / 4, rel=0.01)  # the head runs once
    table = cli(*base)
    for said in (
        "spread: ",
        "3-bit activations",
        "counted exactly",
        "dearer at every rate",
        "cheaper at every rate that",
    ):
        assert said in table.stdout
    assert "weights at initialisation, seeds 0 to 1, 3 images per seed of digits" in table.stderr


def test_describe_draws_its_audit(cli, tmp_path):
    base = ["describe", "C=32,depth=1,heads=4,ratio=2", "--task", "digits", "--plot"]
    result = cli(*base, "audit.html", "-f", "json")
    assert answer(result)["energy_mj"] > 0
    assert "wrote audit.html" in result.stderr
    assert "position convolution" in str(packed_figures((tmp_path / "audit.html").read_text()))


@pytest.mark.slow
def test_a_trial_is_described_by_what_the_study_stored_where_its_images_are_gone(cli, tmp_path):
    (tmp_path / "toy.toml").write_text(TOY_FILE)
    write_cifar10(tmp_path / "data", count=8)
    create = ["study", "create", "c", "--space", "toy.toml", "--data-root", "data", "--energy", "memory"]
    assert cli(*create).exit_code == 0
    assert cli("study", "run", "c", "--trials", "2").exit_code == 0
    whole = answer(cli("describe", "c:1", "-f", "json"))
    (tmp_path / "data").rename(tmp_path / "moved")
    missing = cli("describe", "c:1", "-f", "json")
    found = answer(missing)
    assert set(found) == set(whole)
    figures = set(whole) - {"exact_mj", "quantised", "operations"}
    assert {name: found[name] for name in figures} == {name: whole[name] for name in figures}
    assert found["exact_mj"] is None
    assert found["quantised"].items() <= whole["quantised"].items()
    unknown = dict.fromkeys(("rate", "accumulates", "moved_bits", "energy_pj", "share"))
    assert {row["kind"] for row in found["operations"]} == {"mac", "ac", "state"}
    for ours, before in zip(found["operations"], whole["operations"], strict=True):
        assert ours == {**before, **(unknown if before["kind"] == "ac" else {"share": pytest.approx(before["share"])})}
    said = (
        f"the study's images of cifar10 are not in {tmp_path / 'data'} any more: these are the figures that it stored"
    )
    assert said in missing.stderr
    lines = list(csv.DictReader(io.StringIO(cli("describe", "c:1", "-f", "csv").stdout)))
    assert [line["energy_pj"] == "" for line in lines] == [row["kind"] == "ac" for row in found["operations"]]
    table = cli("describe", "c:1").stdout.splitlines()
    assert len(table) == len(lines) + 5
    assert [line.split()[-2] for line in table if line.startswith("stem.conv2 ")] == ["-"]
    assert f"{whole['energy_mj'] * 1e9:,.0f}" in next(line for line in table if line.startswith("total"))
    write_cifar10(tmp_path / "data", count=7)  # other images: their rates are not those of the study
    assert answer(cli("describe", "c:1", "-f", "json")) == found
    others = cli("describe", "c:1", "--data-root", "data", "-f", "json")
    assert "warning: these images are not those of the study" in others.stderr
    assert answer(others)["energy_mj"] != whole["energy_mj"]
    shutil.rmtree(tmp_path / "data")
    assert answer(cli("describe", "c:1", "--data-root", "moved", "-f", "json")) == whole
    for options in (
        ["--counting", "exact"],
        ["--seeds", "2"],
        ["--energy", "memory"],
        ["--plot", "a.html"],
        ["--proxies"],
    ):
        assert "no CIFAR-10 batch" in cli("describe", "c:1", *options).stderr


@pytest.mark.slow
def test_a_study_keeps_its_convention(cli, tmp_path):
    (tmp_path / "toy.toml").write_text(TOY_FILE)
    chip = tmp_path / "chip.toml"
    chip.write_text((ROOT / "examples" / "my_chip.toml").read_text())
    create = ["study", "create", "demo", "--space", "toy.toml", "--task", "digits", "--skip-if-exists"]
    assert cli(*create, "--energy", "chip.toml").exit_code == 0
    label = Convention.load(str(chip)).label
    assert cli("study", "run", "demo", "--trials", "3", "--energy", "chip.toml").exit_code == 0
    mine, other = Convention.load(str(chip)).hash, CONVENTIONS["memory"].hash
    chip.write_text(chip.read_text().replace("pj = 0.6", "pj = 0.7"))
    changed = Convention.load(str(chip)).hash
    for options, expected in (
        (["study", "run", "demo", "--trials", "3", "--energy", "memory"], f"not under memory (hash {other})"),
        (["study", "run", "demo", "--trials", "3", "--energy", "chip.toml"], f"not under my-chip (hash {changed})"),
        ([*create, "--energy", "memory"], f"not under memory (hash {other})"),
    ):
        refused = cli(*options)
        assert refused.exit_code == 2
        assert f"made under my-chip (hash {mine}), {expected}" in refused.stderr
    chip.unlink()  # the study has its own copy
    assert cli("study", "run", "demo", "--trials", "3").exit_code == 0
    assert cli(*create).exit_code == 0
    assert answer(cli("study", "list", "-f", "json"))[0]["convention"] == label
    assert label in cli("study", "front", "demo").stderr
    row = answer(cli("study", "front", "demo", "-f", "json"))[0]
    found = answer(cli("describe", f"demo:{row['number']}", "-f", "json"))
    assert (found["energy_mj"], found["convention"]) == (row["energy_mj"], label)


@pytest.mark.slow
def test_front_says_how_sure_its_members_are(cli, tmp_path):
    (tmp_path / "toy.toml").write_text(TOY_FILE)
    create = ["study", "create", "demo", "--space", "toy.toml", "--task", "digits", "--images", "3", "--seeds", "2"]
    assert cli(*create).exit_code == 0
    assert cli("study", "run", "demo", "--trials", TRIALS).exit_code == 0
    rows = answer(cli("study", "front", "demo", "--spread", "-f", "json"))
    for row in rows:
        assert row["energy_low_mj"] < row["energy_mj"] < row["energy_high_mj"]
        assert row["energy_std_over_seeds_mj"] > row["energy_error_mj"] > 0
        assert 0 <= row["nondominated_probability"] <= 1
    assert rows[-1]["flops"] == max(row["flops"] for row in rows)
    lines = list(csv.DictReader(io.StringIO(cli("study", "front", "demo", "--spread", "-f", "csv").stdout)))
    assert [float(line["nondominated_probability"]) for line in lines] == [
        row["nondominated_probability"] for row in rows
    ]
    table = cli("study", "front", "demo", "--spread")
    assert "std mJ" in table.stdout
    assert (
        "2 seeds with their weights and images resampled, equal for all; so few seeds make it overconfident"
        in table.stderr
    )
    assert cli("study", "plot", "demo", "--quantised", "-o", "q.html").exit_code == 0
    drawn = packed_figures((tmp_path / "q.html").read_text())["figure"]["data"]
    assert "without spikes, 8 bits" in [trace["name"] for trace in drawn]


@pytest.mark.slow
def test_rates_on_images_of_another_task_are_warned_of_wherever_they_are_first_seen(cli, tmp_path):
    (tmp_path / "toy.toml").write_text(TOY_FILE)
    said = "ates for cifar10 are measured on digits, scaled up; give --data cifar10 --data-root DIR for its own images"
    warning = f"warning: r{said}"
    created = cli("study", "create", "c", "--space", "toy.toml", "-q")
    assert created.stderr.splitlines() == [warning]
    assert cli("study", "run", "c", "--trials", "2").stderr.splitlines()[0] == warning
    for command in (["describe", "c:0"], ["describe", "C=16,depth=1,heads=2,ratio=1"], ["study", "show", "c"]):
        assert warning in cli(*command).stderr.splitlines()
    assert answer(cli("describe", "c:0", "-f", "json"))["data"] == "digits"
    assert cli("study", "fork", "c", "d", "-q").stderr.splitlines() == [warning]
    assert cli("study", "report", "c", "-o", "c.html").exit_code == 0
    assert f"R{said}." in (tmp_path / "c.html").read_text()
    own = cli("study", "create", "own", "--space", "toy.toml", "--task", "digits")
    assert "warning" not in own.stderr + cli("study", "run", "own", "--trials", "2").stderr


def test_a_warning_is_one_line(cli):
    cli("--help")
    assert warnings.formatwarning("no room\nfor frames", UserWarning, "cache.py", 3) == "warning: no room for frames\n"


@pytest.mark.slow
def test_one_image_says_nothing_of_its_error(cli, tmp_path):
    (tmp_path / "toy.toml").write_text(TOY_FILE)
    assert cli("study", "create", "one", "--space", "toy.toml", "--task", "digits", "--images", "1").exit_code == 0
    assert cli("study", "run", "one", "--trials", "6").exit_code == 0
    rows = answer(cli("study", "front", "one", "--spread", "-f", "json"))
    assert {row["nondominated_probability"] for row in rows} == {row["energy_error_mj"] for row in rows} == {None}
    assert "one image says nothing about it" in cli("study", "front", "one", "--spread").stderr


@pytest.mark.slow
def test_trained_weights_are_audited_on_the_data_that_they_were_trained_on(cli, tmp_path):
    (tmp_path / "toy.toml").write_text(TOY_FILE)
    write_cifar10(tmp_path / "data", count=40)
    assert cli("study", "create", "c", "--space", "toy.toml", "--task", "cifar10").exit_code == 0  # rates on digits
    assert cli("study", "run", "c", "--trials", "2").exit_code == 0
    train = ["train", "c", "--trial", "0", "--data", "cifar10", "--data-root", "data", "--epochs", "1"]
    assert cli(*train).exit_code == 0
    audit = ["describe", "c:0", "--checkpoint", "trained/c-0", "--images", "20", "-f", "json"]
    assert "data cifar10 needs --data-root" in cli(*audit).stderr
    assert answer(cli(*audit, "--data-root", "data"))["data"] == "cifar10 (test)"
    assert answer(cli(*audit, "--data", "digits"))["data"] == "digits (test)"
    assert answer(cli("describe", "c:0", "--data-root", "data", "-f", "json"))["data"] == "digits"  # the study's own


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda header: "[]", "damaged description (it is not a table)"),
        (lambda header: "{", "damaged description (Expecting property name"),
        (lambda header: json.dumps({**json.loads(header), "data": "nope"}), "was trained on unknown data 'nope'"),
        (lambda header: json.dumps({**json.loads(header), "data": 5}), "was trained on unknown data 5"),
        (lambda header: json.dumps({**json.loads(header), "training": None}), "holds no finished training"),
        (lambda header: json.dumps({**json.loads(header), "recipe": 3}), "holds no finished training"),
        (lambda header: json.dumps({**json.loads(header), "task": {"name": "x"}}), "does not hold the weights"),
        (None, "holds weights that are not numbers"),
    ],
)
@pytest.mark.slow
def test_a_damaged_checkpoint_is_named(trained_demo, tmp_path, change, said):
    path = tmp_path / "trained" / "demo-0" / "model.safetensors"
    with safe_open(path, "pt") as file:
        header = file.metadata()["autost_optuna"]
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    if change is None:
        tensors["head.bias"][0] = float("nan")
    save_file(
        tensors, tmp_path / "broken.safetensors", metadata={"autost_optuna": change(header) if change else header}
    )
    for command in (["describe", "demo:0"], ["export", "demo", "--trial", "0", "-o", "out"]):
        refused = trained_demo(*command, "--checkpoint", "broken.safetensors")
        assert refused.exit_code == 2
        assert refused.stderr.startswith("error: broken.safetensors")
        assert said in refused.stderr
    assert not (tmp_path / "out").exists()


def test_describe_audits_trained_weights(trained_demo):
    demo = trained_demo
    row = answer(demo("study", "front", "demo", "--pick", "knee", "-f", "json"))[0]
    checkpoint = f"trained/demo-{row['number']}/model.safetensors"
    found = answer(
        demo("describe", f"demo:{row['number']}", "--checkpoint", checkpoint, "--images", "20", "-f", "json")
    )
    assert (found["weights"], found["data"], found["images"]) == ("trained", "digits (test)", 20)
    assert math.fsum(o["energy_pj"] for o in found["operations"]) * 1e-9 == found["energy_mj"]
    assert found["flops"] == row["flops"]
    assert found["energy_mj"] != row["energy_mj"]
    assert not found["silent"]
    text = Architecture.from_dict(row["architecture"]).to_text()
    table = demo("describe", text, "--checkpoint", f"trained/demo-{row['number']}")  # the task is the checkpoint's
    assert "trained weights" in table.stderr
    for options, said in (
        (["C=64,depth=1,heads=4,ratio=2"], "give the checkpoint of this one"),
        ([text, "--task", "cifar10"], "was trained for task digits, not for cifar10"),
        ([text, "--seeds", "2"], "seeds 2: trained weights have one"),
    ):
        refused = demo("describe", *options, "--checkpoint", checkpoint)
        assert refused.exit_code == 2
        assert said in refused.stderr


def test_describe_under_another_convention_and_seed(cli):
    base = ["describe", "C=64,depth=1,heads=4,ratio=2", "--task", "digits", "-f", "json"]
    one, half, other = (answer(cli(*base, *more)) for more in ((), ("--energy", "horowitz-45nm-fp16"), ("--seed", 1)))
    assert (one["convention"], half["convention"]) == ("horowitz-45nm-fp32", "horowitz-45nm-fp16")
    assert half["energy_mj"] < one["energy_mj"]
    assert half["flops"] == one["flops"] == other["flops"]
    assert other["energy_mj"] != one["energy_mj"]


def test_plot_writes_a_page_that_is_complete_in_itself(demo, tmp_path):
    assert demo("study", "plot", "demo", "-o", "sub/front.html").exit_code == 0
    page = (tmp_path / "sub" / "front.html").read_text()
    assert "Pareto front" in str(packed_figures(page))
    assert not re.search(r"<(script|link|img)[^>]*(src|href)=", page)
    assert [p.name for p in (tmp_path / "sub").iterdir()] == ["front.html"]


@pytest.mark.slow
def test_baselines_stand_beside_the_search_until_they_are_taken_out(demo, tmp_path):
    own = "C=48,depth=2,heads=4/2,ratio=2"  # outside the space
    before = answer(demo("study", "show", "demo", "-f", "json"))
    rebuilt = answer(demo("study", "baseline", "demo", "spikingformer-2-384", "--rebuilt", "-f", "json"))
    assert [(row["name"], row["sizes_of"]) for row in rebuilt] == [("AutoST form, 384 \u00d7 2", "spikingformer-2-384")]
    said = "only the sizes of spikingformer-2-384. The published network is another one and costs several times less energy"
    for shown in (demo("study", "front", "demo").stderr, demo("study", "show", "demo").stdout):
        assert said in shown
    assert "costs 0.35 mJ as its authors build it" in demo("study", "baseline", "demo").stdout
    both = answer(demo("study", "baseline", "demo", "spikingformer-2-384", "-f", "json"))
    assert [row["name"] for row in both] == ["AutoST form, 384 \u00d7 2", "spikingformer-2-384"]
    left = answer(demo("study", "baseline", "demo", "--remove", "spikingformer-2-384", "-f", "json"))
    assert [row["sizes_of"] for row in left] == ["spikingformer-2-384"]
    assert demo("study", "plot", "demo", "-o", "rebuilt.html").exit_code == 0
    page = str(packed_figures((tmp_path / "rebuilt.html").read_text()))
    assert all(said in page for said in ("AutoST form, 384", "published networks: others"))
    assert demo("study", "baseline", "demo", "--clear").exit_code == 0
    names = ["spikingformer-2-384", "spikformer-2-384"]
    rows = answer(demo("study", "baseline", "demo", own, *names, "-f", "json"))
    assert [row["name"] for row in rows] == [own, *names]
    assert [row["sizes_of"] for row in rows] == [None, None, None]
    assert [row["energy_mj"] < rebuilt[0]["energy_mj"] / 2 for row in rows[1:]] == [True, True]
    found = answer(demo("describe", own, "--task", "digits", "-f", "json"))
    assert {name: found[name] for name in ("params", "macs", "flops", "energy_mj", "architecture")}.items() <= rows[
        0
    ].items()
    assert answer(demo("study", "baseline", "demo", own, "-f", "json")) == rows  # twice is once
    after = answer(demo("study", "show", "demo", "-f", "json"))
    published = after.pop("published_networks")
    assert after == {**{key: before[key] for key in after}, "baselines": rows}
    assert [one["name"] for one in published] == names
    assert published[1]["accuracies"] == {"CIFAR-10": 94.8, "CIFAR-100": 76.95}
    front = demo("study", "front", "demo")
    assert all(f"baseline {row['name']}: " in front.stderr for row in rows)
    assert f"baseline     {own}: " in demo("study", "show", "demo").stdout
    assert "baseline     spikingformer-2-384: " in demo("study", "show", "demo").stdout
    table = demo("study", "baseline", "demo")
    ours, theirs = table.stdout.split("\nAs published, with trained weights:\n")
    assert names[0] in ours
    for figure in ("94.80 % CIFAR-10, 76.95 % CIFAR-100", "arXiv 2209.15425", "cifar10"):
        assert figure in theirs
        assert figure not in ours
    assert "3,072 parameters more that it never uses: two LayerNorms per block" in table.stderr
    lines = list(csv.DictReader(io.StringIO(demo("study", "baseline", "demo", "-f", "csv").stdout)))
    assert [float(line["energy_mj"]) for line in lines] == [row["energy_mj"] for row in rows]
    assert [line["name"] for line in lines] == [own, *names]
    assert not any(line["caveat"] for line in lines)
    assert not [column for column in lines[0] if "published" in column]
    assert demo("study", "exact", "demo").exit_code == 0
    assert demo("study", "plot", "demo", "--pick", "2", "-o", "front.html").exit_code == 0
    page = str(packed_figures((tmp_path / "front.html").read_text()))
    shown = ("spikingformer-2-384", "exact front (10 classes)", "2 picks")
    assert all(said in page for said in shown)
    kept = answer(demo("study", "baseline", "demo", "--remove", "Spikformer-2-384", "--remove", own, "-f", "json"))
    assert kept == [rows[1]]
    assert demo("study", "baseline", "demo", "--remove", names[0]).stdout == "study demo has no baselines\n"
    assert demo("study", "baseline", "demo", "--clear").stdout == "study demo has no baselines\n"
    assert answer(demo("study", "show", "demo", "-f", "json"))["baselines"] == []


def test_a_study_without_trials_has_baselines_too(cli, tmp_path):
    (tmp_path / "toy.toml").write_text(TOY_FILE)
    assert cli("study", "create", "new", "--space", "toy.toml", "--task", "digits").exit_code == 0
    result = cli("study", "baseline", "new", "C=16,depth=1,heads=2,ratio=1")
    assert result.exit_code == 0
    assert "the search has no front yet" in result.stdout


@pytest.mark.slow
def test_picks_and_budgets(demo):
    rows = answer(demo("study", "front", "demo", "-f", "json"))
    assert len(rows) > 2
    two = answer(demo("study", "front", "demo", "--pick", "2", "-f", "json"))
    assert len(two) == 2
    assert all(row in rows for row in two)
    all_of_them = demo("study", "front", "demo", "--pick", "50", "-f", "json")
    assert answer(all_of_them) == rows
    assert f"all {len(rows)} members there are, fewer than the 50 asked for" in all_of_them.stderr
    budget = rows[1]["energy_mj"]
    assert answer(demo("study", "front", "demo", "--max-energy", budget, "-f", "json")) == [rows[1]]
    assert answer(demo("study", "front", "demo", "--max-energy", budget, "--pick", "2", "-f", "json")) == rows[:2]
    assert answer(demo("study", "front", "demo", "--max-energy", budget, "--pick", "knee", "-f", "json")) == [rows[0]]
    trained = demo("train", "demo", "--front", "2", "--epochs", "1", "--images", "100")
    assert trained.exit_code == 0, trained.output
    assert {path.name for path in Path("trained").iterdir()} == {f"demo-{row['number']}" for row in two}


@pytest.mark.slow
def test_train_and_export_the_knee(cli, tmp_path):
    # An export takes long for many blocks, and so does a training.
    (tmp_path / "toy.toml").write_text(TOY_FILE.replace("depth = [1, 2]", "depth = [1]"))
    assert cli("study", "create", "demo", "--space", "toy.toml", "--task", "digits").exit_code == 0
    assert cli("study", "run", "demo", "--trials", "6").exit_code == 0
    demo = cli
    trained = demo("train", "demo", "--knee", "--epochs", "1", "--batch-size", "256")
    assert trained.exit_code == 0, trained.output
    folder = next((tmp_path / "trained").iterdir())
    number = int(folder.name.removeprefix("demo-"))
    again = demo("train", "demo", "--trial", number, "--epochs", "1", "--batch-size", "256")
    assert again.exit_code == 0
    assert again.stdout == trained.stdout
    result = demo("export", "demo", "--trial", number, "-o", "out", "--checkpoint", folder / "model.safetensors")
    assert result.exit_code == 0, result.output
    assert "trained weights" in result.stdout
    assert (
        load(tmp_path / "out").architecture.to_dict()
        == answer(demo("study", "front", "demo", "--pick", "knee", "-f", "json"))[0]["architecture"]
    )


@pytest.mark.slow
def test_run_again_adds_trials_and_delete_removes_the_study(demo):
    assert demo("study", "run", "demo", "--trials", "3").exit_code == 0
    assert answer(demo("study", "show", "demo", "-f", "json"))["trials"] == TRIALS + 3
    assert demo("study", "delete", "demo").stdout == f"deleted study demo with {TRIALS + 3} trials\n"
    assert demo("study", "show", "demo").exit_code == 2


@pytest.mark.slow
def test_a_search_on_events_needs_no_download(cli, tmp_path):
    (tmp_path / "toy.toml").write_text(TOY_FILE)
    created = cli("study", "create", "ev", "--task", "nmnist", "--space", "toy.toml")
    assert created.exit_code == 0, created.output
    assert cli("study", "run", "ev", "--trials", TRIALS).exit_code == 0
    assert [row["data"] for row in answer(cli("study", "list", "-f", "json"))] == ["digits-saccades"]
    shown = answer(cli("describe", "ev:0", "-f", "json"))
    assert not shown["silent"]
    assert (shown["operations"][0]["kind"], shown["operations"][0]["steps"]) == ("mac", 10)
    front = answer(cli("study", "front", "ev", "-f", "json"))
    least = min(front, key=lambda row: row["flops"])["number"]  # an export takes long for many blocks
    assert cli("export", "ev", "--trial", least, "-o", "out").exit_code == 0
    assert "float32 [B, 10, 2, 34, 34]" in (tmp_path / "out" / "README.md").read_text()


@pytest.mark.slow
def test_quickstart_runs_the_whole_way_and_again_does_nothing_twice(cli, tmp_path, monkeypatch):
    monkeypatch.setattr(
        quickstart, "SPACE", replace(quickstart.SPACE, embed_dim=tuple(range(16, 56, 8)), depth=(1,))
    )  # an export of six blocks takes long
    (line,) = examples(main.commands["quickstart"])  # with smaller numbers: the last of two counts
    words = [*shlex.split(line)[1:], "--trials", "30", "--epochs", "1"]
    first = cli(*words)
    assert first.exit_code == 0, first.output
    folder = tmp_path / "first-look"
    names = sorted(path.name for path in folder.iterdir())
    assert names[0] == "autost.journal"
    assert "front.html" in names
    assert "trained" in figures_of(open_search("quickstart", str(folder / "autost.journal")).study)
    bundle = next(folder.glob("exported-*"))
    load(bundle)
    written = (bundle / "manifest.json").stat().st_mtime_ns
    second = cli(*words)
    assert second.exit_code == 0
    assert (bundle / "manifest.json").stat().st_mtime_ns == written
    assert second.stdout.splitlines()[-3:] == first.stdout.splitlines()[-3:]


MISTAKES = {
    "unknown study": (["study", "show", "nobody"], "no study 'nobody'"),
    "no storage": (
        ["study", "run", "demo", "--trials", "3", "--storage", "none.journal"],
        "no storage at none.journal",
    ),
    "study exists": (["study", "create", "demo", "--space", "toy.toml", "--task", "digits"], "exists"),
    "unknown space": (["study", "create", "new", "--space", "huge"], "no space 'huge'"),
    "missing space": (["study", "create", "new", "--space", "huge.toml"], "huge.toml does not exist"),
    "wrong key": (["study", "create", "new", "--space", "wrong.toml"], "unknown key 'width'; allowed are"),
    "indivisible heads": (["study", "create", "new", "--space", "heads.toml"], "num_heads 5 does not divide"),
    "unknown task": (["study", "create", "new", "--task", "mnist"], "no task 'mnist'"),
    "unknown convention": (["study", "create", "new", "--energy", "free"], "no energy convention 'free'"),
    "convention missing": (
        ["study", "create", "new", "--energy", "none.toml"],
        "none.toml does not exist; check the path",
    ),
    "convention no TOML": (
        ["describe", "C=64,depth=1,heads=8,ratio=4", "--energy", "nested.toml"],
        "nested.toml is not TOML",
    ),
    "convention of other keys": (
        ["study", "create", "new", "--energy", "wrong.toml"],
        "wrong.toml: energy convention: unknown key 'embed_dim'; allowed are name, mac, accumulate, bit, step",
    ),
    "another convention": (["study", "run", "demo", "--trials", "3", "--energy", "memory"], "was made under horowitz"),
    "no seeds": (["study", "create", "new", "--task", "digits", "--seeds", "0"], "seeds 0"),
    "negative seeds": (["describe", "C=64,depth=1,heads=8,ratio=4", "--task", "digits", "--seeds", "-1"], "seeds -1"),
    "no device": (
        ["describe", "C=64,depth=1,heads=8,ratio=4", "--task", "digits", "--device", "abacus"],
        "device 'abacus' is not cpu, cuda or cuda:N",
    ),
    "another way of counting": (["describe", "C=64,depth=1,heads=8,ratio=4", "--counting", "fingers"], "'fingers'"),
    "audit of another kind": (
        ["describe", "C=64,depth=1,heads=8,ratio=4", "--task", "digits", "--plot", "a.pdf"],
        "a.pdf has no known ending",
    ),
    "checkpoint to audit missing": (
        ["describe", "C=64,depth=1,heads=8,ratio=4", "--checkpoint", "no.safetensors"],
        "no checkpoint at no.safetensors",
    ),
    "unknown data": (["study", "create", "new", "--data", "mnist"], "no data 'mnist'"),
    "missing data": (["study", "create", "new", "--data-root", "nowhere"], "no CIFAR-10 batch at"),
    "no folder for data": (["study", "create", "new", "--data", "cifar10"], "needs --data-root"),
    "no images": (["study", "create", "new", "--images", "0"], "images 0"),
    "zero trials": (["study", "run", "demo", "--trials", "0"], "trials 0 is not positive"),
    "negative trials": (["study", "run", "demo", "--trials", "-5"], "trials -5 is not positive"),
    "trials no number": (["study", "run", "demo", "--trials", "many"], "'many'"),
    "trials missing": (["study", "run", "demo"], "--trials"),
    "zero timeout": (["study", "run", "demo", "--trials", "5", "--timeout", "0"], "timeout 0"),
    "unwritable storage": (["study", "create", "new", "--task", "digits", "--storage", "no/such/x"], "no/such"),
    "storage a folder": (["study", "create", "new", "--task", "digits", "--storage", "."], "is a directory"),
    "storage no journal": (["study", "list", "--storage", "toy.toml"], "is not an Optuna journal"),
    "too wide": (["describe", "C=80000,depth=1,heads=8,ratio=4"], "embed_dim 80000 is over the bound 2048"),
    "too deep": (["describe", "C=64,depth=100,heads=8,ratio=4"], "depth 100 is over the bound 64"),
    "far too deep": (["describe", "C=64,depth=1000000000000,heads=8,ratio=4"], "depth 1000000000000 is over the bound"),
    "space far too deep": (["study", "create", "new", "--space", "deep.toml"], "depth 1000000000000 is over the bound"),
    "nested": (["describe", "nested.json"], "nested.json is not an architecture in JSON"),
    "nested yaml": (["describe", "nested.yaml"], "nested.yaml is not YAML"),
    "nested toml": (["study", "create", "new", "--space", "nested.toml"], "nested.toml is not TOML"),
    "seed": (
        ["describe", "C=64,depth=1,heads=8,ratio=4", "--task", "digits", "--seed", "-5"],
        "seed -5 is out of range",
    ),
    "missing data of cifar100": (
        ["study", "create", "new", "--task", "cifar100", "--data-root", "."],
        "no CIFAR-100 batch at",
    ),
    "missing folder of images": (
        ["study", "create", "new", "--task", "imagenet", "--data-root", "nowhere"],
        "no folder nowhere/train; put your images into DIR/train/<class>",
    ),
    "missing recordings of cifar10dvs": (
        ["study", "create", "new", "--task", "cifar10dvs", "--data-root", "nowhere"],
        "no CIFAR10-DVS recordings in nowhere; download",
    ),
    "missing recordings of gestures": (
        ["study", "create", "new", "--task", "dvs128gesture", "--data-root", "nowhere"],
        "no DVS128 Gesture recordings in nowhere; download",
    ),
    "events of images": (
        ["study", "create", "new", "--task", "nmnist", "--data", "cifar10", "--data-root", "."],
        "task nmnist reads recordings, data cifar10 holds images",
    ),
    "images of events": (
        ["study", "create", "new", "--task", "digits", "--data", "digits-saccades"],
        "task digits reads images",
    ),
    "missing recordings": (
        ["study", "create", "new", "--task", "nmnist", "--data-root", "nowhere"],
        "no N-MNIST recordings in nowhere; download",
    ),
    "timeout no number": (["study", "run", "demo", "--trials", "5", "--timeout", "nan"], "timeout nan"),
    "not divisible": (["describe", "C=64,depth=1,heads=7,ratio=4"], "num_heads 7 does not divide embed_dim 64"),
    "no architecture": (["describe", "big"], "architecture 'big' is none of"),
    "no such trial": (["describe", "demo:999"], "no complete trial 999"),
    "trial no number": (["describe", "demo:x"], "trial 'x'"),
    "json missing": (["describe", "none.json"], "none.json does not exist"),
    "json wrong": (["describe", "toy.toml.json"], "unknown key 'width'"),
    "plot of another kind": (["study", "plot", "demo", "-o", "front.pdf"], "front.pdf has no known ending"),
    "plot into a file": (["study", "plot", "demo", "-o", "toy.toml/front.html"], "cannot write"),
    "train nobody": (["train", "demo"], "Give --trial N, --knee, --front K or --exact K."),
    "train none of the front": (["train", "demo", "--front", "0"], "0 members cannot be picked; ask for at least 1"),
    "export nobody": (["export", "demo", "-o", "new"], "Give --trial N, --knee or --exact N."),
    "pick nothing": (["study", "front", "demo", "--pick", "0"], "0 members cannot be picked; ask for at least 1"),
    "pick fewer": (["study", "front", "demo", "--pick", "-1"], "pick '-1' is neither knee nor a number of members"),
    "pick nonsense": (["study", "plot", "demo", "--pick", "best", "-o", "new.html"], "pick 'best' is neither knee nor"),
    "no budget": (["study", "front", "demo", "--max-energy", "0"], "a budget of 0 mJ is not positive"),
    "budget no number": (["study", "front", "demo", "--max-energy", "nan"], "a budget of nan mJ is not positive"),
    "budget too small": (
        ["study", "front", "demo", "--max-energy", "1e-9", "--pick", "2"],
        "costs at most 1e-09 mJ; the cheapest one's energy is ",
    ),
    "unknown baseline": (
        ["study", "baseline", "demo", "resnet"],
        "no network 'resnet'; choose one of the families spikformer, ",
    ),
    "baseline of nobody": (["study", "baseline", "nobody", "all"], "no study 'nobody'"),
    "baseline too wide": (
        ["study", "baseline", "demo", "C=4096,depth=1,heads=8,ratio=4"],
        "over the bound 2048 of task",
    ),
    "baseline no architecture": (["study", "baseline", "demo", "C=48,depth=1,heads=4"], "it needs C, depth, heads and"),
    "baseline missing": (["study", "baseline", "demo", "none.json"], "none.json does not exist"),
    "baseline of no trial": (["study", "baseline", "demo", "demo:999"], "no complete trial 999"),
    "no such baseline": (
        ["study", "baseline", "demo", "--remove", "all"],
        "no baseline 'all' in the study; it has none",
    ),
    "baselines in and out": (
        ["study", "baseline", "demo", "all", "--clear"],
        "Give NETWORKs to add, or --remove NETWORK, or --clear.",
    ),
    "train unknown": (["train", "demo", "--trial", "999"], "no complete trial 999"),
    "train never": (["train", "demo", "--knee", "--epochs", "0"], "epochs 0"),
    "export into a folder": (["export", "demo", "--knee", "-o", "there"], "there exists"),
    "export two": (["export", "demo", "--knee", "--trial", "0", "-o", "new"], "not more"),
    "checkpoint missing": (
        ["export", "demo", "--knee", "-o", "new", "--checkpoint", "no.safetensors"],
        "no checkpoint",
    ),
    "quickstart elsewhere": (["quickstart", "-o", "there"], "holds no quickstart"),
    "unknown command": (["study", "dance"], "No such command 'dance'"),
    "unknown option": (["study", "list", "--loud"], "--loud"),
    "trained front of none": (
        ["study", "front", "demo", "--trained"],
        "no trained networks yet; autost-optuna train demo",
    ),
    "trained plot of none": (["study", "plot", "demo", "--trained", "-o", "a.html"], "no trained networks yet"),
    "trained picks": (["study", "front", "demo", "--trained", "--pick", "3"], "leave out --pick"),
    "trained quantised": (
        ["study", "plot", "demo", "--trained", "--quantised", "-o", "a.html"],
        "leave out --quantised",
    ),
    "search called trained": (["study", "create", "a.trained", "--space", "tiny"], "choose one without .trained"),
    "fork called trained": (["study", "fork", "demo", "a.trained"], "choose one without .trained"),
    "copy called trained": (["study", "copy", "demo", "--to", "b.journal", "--as", "a.trained"], "without .trained"),
    "dashboard without artifacts": (["dashboard", "--artifacts", "none"], "no folder none to read artifacts from"),
    "dashboard of nothing": (["dashboard", "--storage", "none.journal"], "no storage at none.journal"),
}


@pytest.mark.slow
def test_every_mistake_gets_one_line_exit_code_2_and_leaves_nothing(demo, tmp_path):
    (tmp_path / "wrong.toml").write_text(TOY_FILE + "width = [1]\n")
    (tmp_path / "heads.toml").write_text(TOY_FILE.replace("num_heads = [2, 4]", "num_heads = [5]"))
    (tmp_path / "toy.toml.json").write_text(json.dumps({"width": 3}))
    (tmp_path / "deep.toml").write_text(TOY_FILE.replace("depth = [1, 2]", "depth = [1000000000000]"))
    for ending, start in (("json", ""), ("yaml", ""), ("toml", "depth = ")):
        (tmp_path / f"nested.{ending}").write_text(start + "[" * 20_000)
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "file").write_text("")
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    for what, (arguments, said) in MISTAKES.items():
        result = demo(*arguments)
        assert result.exit_code == 2, (what, result.output)
        assert result.stdout == "", what
        assert result.stderr.count("\n") == 1, (what, result.stderr)
        assert result.stderr.startswith("error: "), what
        assert said in result.stderr, (what, result.stderr)
    after = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    assert after == before


@pytest.mark.slow
def test_a_study_name_cannot_break_the_page_or_the_terminal(cli, tmp_path):
    (tmp_path / "toy.toml").write_text(TOY_FILE)
    name = "<script>alert(1)</script>"
    assert cli("study", "create", name, "--space", "toy.toml", "--task", "digits").exit_code == 0
    assert cli("study", "run", name, "--trials", "4").exit_code == 0
    assert cli("study", "plot", name, "-o", "x.html").exit_code == 0
    assert "<script>alert" not in (tmp_path / "x.html").read_text()
    assert cli("study", "create", "a\x1b[31m", "--task", "digits").exit_code == 2


def python(*arguments, **options):
    environment = {**os.environ, **options.pop("env", {})}
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, env=environment, **options)


@pytest.fixture
def measured(demo, tmp_path):
    """The same folder with trained networks: each member of the front with two seeds, the cheapest with another recipe too.

    Measured energies are 1.5 and 2.5 times the predicted, accuracies .5 and .75: means 2 times, 62.5 % and a deviation.
    """
    search = open_search("demo", str(tmp_path / "autost.journal"), write=True)
    members = search.front()
    for member in members:
        driven = [o.name for o in operations(member.architecture, search.settings.task) if o.driven_by != REAL]
        low, high = dict.fromkeys(driven, 0.1), dict.fromkeys(driven, 0.1) | {"stem.conv2": 0.2}
        for seed, times in enumerate((1.5, 2.5)):
            store(
                search,
                member,
                seed=seed,
                energy_mj=times * member.energy_mj,
                validation_accuracy=0.5 + 0.25 * seed,
                initial_rates=low,
                rates=high,
            )
    store(search, members[0], recipe_hash="f" * 12, recipe_name="long", energy_mj=3.0, initial_rates=low, rates=high)
    return demo


def test_trained_networks_stand_beside_what_was_predicted(measured):
    front = answer(measured("study", "front", "demo", "-f", "json"))
    rows = answer(measured("study", "front", "demo", "--trained", "-f", "json"))
    assert len(rows) == len(front) + 1
    assert [row["number"] for row in rows[1:]] == [row["number"] for row in front]
    pairs = [row for row in rows if row["recipe"] == "short"]
    for row, member in zip(pairs, front, strict=True):
        assert {key: row[key] for key in ("architecture", "flops", "params")} == {
            key: member[key] for key in ("architecture", "flops", "params")
        }
        assert row["predicted_mj"] == member["energy_mj"]
        assert (row["measured_mj"], row["ratio"]) == pytest.approx((2 * member["energy_mj"], 2.0))
        assert (row["seeds"], row["validation_accuracy"], row["test_accuracy"]) == (2, 0.625, 0.5)
        assert row["validation_deviation"] == pytest.approx(0.25 / 2**0.5)
    (single,) = [row for row in rows if row["recipe"] == "long"]
    assert (single["seeds"], single["measured_deviation_mj"], single["measured_mj"]) == (1, None, 3.0)
    assert [row["nondominated"] for row in rows] == [row is pairs[0] or row is single for row in rows]
    lines = list(csv.DictReader(io.StringIO(measured("study", "front", "demo", "--trained", "-f", "csv").stdout)))
    assert [float(line["measured_mj"]) for line in lines] == [row["measured_mj"] for row in rows]
    assert lines[0]["num_heads"] == "/".join(map(str, rows[0]["architecture"]["num_heads"]))
    table = measured("study", "front", "demo", "--trained")
    assert "62.5 ± 17.7 %" in table.stdout
    assert "long on digits" in table.stdout
    assert "non-dominated as measured" in table.stderr


def test_show_calibrates_the_prediction(measured):
    shown = answer(measured("study", "show", "demo", "-f", "json"))
    found, size = shown["trained"], shown["front_size"]
    assert (found["networks"], found["members"], found["recipes"]) == (2 * size + 1, size, ["short", "long"])
    short = next(one for one in found["calibration"] if one["recipe_name"] == "short")
    assert (short["ratio"], short["least_ratio"], short["swapped"]) == (pytest.approx(2.0), pytest.approx(2.0), 0)
    assert (short["layers"][0]["role"], short["layers"][0]["ratio"]) == ("stem.conv2", pytest.approx(2.0))
    assert len(found["trainings"]) == found["networks"]
    printed = measured("study", "show", "demo").stdout
    assert f"trained      {2 * size} networks of {counted(size, 'member')}, recipe short on digits" in printed
    assert "best 62.5 ± 17.7 % validation, 50.0 ± 0.0 % test" in printed
    assert "measured 2.00 times the predicted" in printed
    assert ("  proxy      flops puts" in printed) != ("proxy        what FLOPs are worth here" in printed)
    assert "stem.conv2 0.100 to 0.200 (+0.2%)" in printed


def test_both_fronts_are_drawn(measured, tmp_path):
    assert measured("study", "plot", "demo", "--trained", "-o", "a.html").stdout == "wrote a.html\n"
    assert "Pareto front as measured" in str(packed_figures((tmp_path / "a.html").read_text()))


@pytest.mark.slow
def test_trained_networks_are_a_study_for_list_copy_and_delete_alone(measured, tmp_path):
    rows = {row["name"]: row for row in answer(measured("study", "list", "-f", "json"))}
    assert rows["demo.trained"]["space"] == "trained networks of demo"
    shown = answer(measured("study", "show", "demo", "-f", "json"))
    for name in ("demo.trained", "demo"):
        assert measured("study", "copy", name, "--to", "sqlite:///b.db").stdout.startswith("copied ")
    assert answer(measured("study", "show", "demo", "-f", "json", "--storage", "sqlite:///b.db")) == shown
    for command in (
        ["show"],
        ["front"],
        ["run", "--trials", "1"],
        ["exact"],
        ["plot", "-o", "a.html"],
        ["fork", "new"],
    ):
        result = measured("study", command[0], "demo.trained", *command[1:])
        assert result.exit_code == 2
        assert result.stderr == (
            "error: study 'demo.trained' holds trained networks and is no search; autost-optuna study show demo shows them\n"
        )
    wrong = measured("study", "copy", "demo.trained", "--to", "c.journal", "--as", "new")
    assert (wrong.exit_code, wrong.stderr.count("\n")) == (2, 1)
    gone = measured("study", "delete", "demo")
    assert gone.stdout == f"deleted study demo with {TRIALS} trials\n"
    assert "kept its trained networks; autost-optuna study delete demo.trained" in gone.stderr
    assert [row["name"] for row in answer(measured("study", "list", "-f", "json"))] == ["demo.trained"]
    assert measured("study", "create", "demo", "--space", "tiny", "--task", "digits").exit_code == 0
    other = measured("study", "show", "demo")  # the next search of that name is told, and not mixed up
    assert other.exit_code == 0
    assert "warning: study demo.trained holds networks of a search with another space" in other.stderr
    assert measured("study", "delete", "demo.trained").exit_code == 0
    assert [row["name"] for row in answer(measured("study", "list", "-f", "json"))] == ["demo"]


HELPS = [
    [],
    ["study"],
    *(
        ["study", name]
        for name in (
            "create",
            "run",
            "list",
            "show",
            "exact",
            "baseline",
            "front",
            "plot",
            "report",
            "fork",
            "adopt",
            "rescue",
            "copy",
            "delete",
        )
    ),
    *([name] for name in ("describe", "audit", "train", "validate", "export", "quickstart", "dashboard")),
]


@pytest.mark.process
def test_import_and_every_help_take_no_torch():
    code = (
        "import sys, autost_optuna\n"
        "from click.testing import CliRunner\n"
        "from autost_optuna.cli import main\n"
        f"for command in {HELPS!r}:\n"
        "    result = CliRunner().invoke(main, [*command, '--help'])\n"
        "    assert result.exit_code == 0 and 'Usage:' in result.output, command\n"
        "    assert not command or len(command) == 1 and command[0] == 'study' or 'Example' in result.output, command\n"
        "heavy = {'torch', 'optuna', 'spikingjelly', 'plotly', 'numpy', 'sqlalchemy', 'sklearn'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    result = python("-c", code)
    assert result.returncode == 0, result.stderr


def test_every_command_is_helped():
    listed = {(name,) for name in main.commands} | {("study", name) for name in main.commands["study"].commands}
    assert listed | {()} == {tuple(command) for command in HELPS}


@pytest.mark.slow
@pytest.mark.process
def test_the_module_runs_as_a_program():
    result = python("-m", "autost_optuna", "--version")
    assert result.stdout.startswith("autost-optuna, version 0.")
    assert python("-m", "autost_optuna", "describe", "x", cwd="/").stderr.startswith("error: ")
    bare = python("-m", "autost_optuna")
    assert bare.returncode == 2
    assert "quickstart" in bare.stderr


@pytest.mark.slow
@pytest.mark.process
def test_it_works_where_torchvision_and_torchaudio_cannot_be_imported(tmp_path):
    for name, error in (("torchvision", "RuntimeError"), ("torchaudio", "OSError")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(f"raise {error}('no {name} here')\n")
    arguments = ["describe", "C=32,depth=1,heads=4,ratio=2", "--task", "digits", "-f", "json"]
    result = python("-m", "autost_optuna", *arguments, cwd=tmp_path, env={"PYTHONPATH": str(tmp_path)})
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["params"] > 0


@pytest.mark.parametrize("words", [["whole.py"], ["-m", "whole"], ["-c", "import whole"]])
@pytest.mark.process
def test_an_interrupt_waits_for_the_end_of_an_import(tmp_path, words):
    (tmp_path / "slow.py").write_text(
        "import signal, time\nsignal.raise_signal(signal.SIGINT)\ntime.sleep(0.2)\nprint('imported')\n"
    )
    (tmp_path / "whole.py").write_text(
        "import time\n"
        "from autost_optuna.cli import main\n"
        "@main.command()\n"
        "def probe():\n"
        "    import slow\n"
        "    exec('time.sleep(20)')\n"
        "    print('never seen')\n"
        "main(['probe'])\n"
    )
    done = subprocess.run([sys.executable, *words], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr.strip()) == (130, "imported\n", "error: interrupted")


@pytest.mark.slow
@pytest.mark.process
def test_interrupting_a_run_leaves_a_study_that_resumes(cli, tmp_path):
    import signal
    import time

    (tmp_path / "toy.toml").write_text(TOY_FILE)
    assert cli("study", "create", "demo", "--space", "toy.toml", "--task", "digits").exit_code == 0
    command = ["-m", "autost_optuna", "study", "run", "demo", "--trials", "100000"]
    process = warm.Popen(command, cwd=tmp_path, stdout=warm.PIPE, stderr=warm.PIPE, text=True)
    size = (tmp_path / "autost.journal").stat().st_size
    deadline = time.monotonic() + 60
    while (tmp_path / "autost.journal").stat().st_size < size + 20_000 and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Resume by the same command, with --trials" in err
    assert "Traceback" not in err
    done = answer(cli("study", "show", "demo", "-f", "json"))
    assert done["trials"] > 0
    assert done["failed"] == 0
    assert cli("study", "run", "demo", "--trials", "2").exit_code == 0
    assert answer(cli("study", "show", "demo", "-f", "json"))["trials"] == done["trials"] + 2


@pytest.mark.slow
@pytest.mark.process
def test_a_killed_run_resumes_at_once(cli, tmp_path):
    import time

    (tmp_path / "toy.toml").write_text(TOY_FILE)
    assert cli("study", "create", "demo", "--space", "toy.toml", "--task", "digits").exit_code == 0
    command = ["-m", "autost_optuna", "study", "run", "demo", "--trials", "100000"]
    for _ in range(2):
        size = (tmp_path / "autost.journal").stat().st_size
        process = warm.Popen(command, cwd=tmp_path, stdout=warm.DEVNULL, stderr=warm.DEVNULL)
        deadline = time.monotonic() + 60
        while (tmp_path / "autost.journal").stat().st_size < size + 30_000 and time.monotonic() < deadline:
            time.sleep(0.02)
        process.kill()
        process.wait()
    before = answer(cli("study", "show", "demo", "-f", "json"))["trials"]
    start = time.monotonic()
    assert cli("study", "run", "demo", "--trials", "2").exit_code == 0
    assert time.monotonic() - start < 29  # Optuna alone waits 30 s for the lock of a killed process; here it is 5
    assert answer(cli("study", "show", "demo", "-f", "json"))["trials"] == before + 2


@pytest.mark.slow
@pytest.mark.process
def test_closed_streams_do_no_harm(demo, tmp_path):
    program = f"{sys.executable} -m autost_optuna"
    for command, code in (("study list >&-", (0, 1)), ("study delete demo <&-", (0,)), ("study list | head -1", (0,))):
        result = subprocess.run(["sh", "-c", f"{program} {command}"], cwd=tmp_path, capture_output=True, text=True)
        assert result.returncode in code, (command, result.stderr)
        assert "Traceback" not in result.stderr
        assert "unexpected" not in result.stderr


@pytest.mark.process
def test_a_full_disk_is_a_failed_run_and_named(demo, tmp_path):
    # A limit on the size of files stands in for the disk: the weights do not fit, the rest does.
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (40 << 10, -1)); "
    code = limit + "from autost_optuna.cli import main; main(prog_name='autost-optuna')"
    result = warm.run(
        ["-c", code, "export", "demo", "--knee", "-o", "out"], cwd=tmp_path, capture_output=True, text=True
    )
    assert result.returncode == 1, result.stderr
    assert "out: " in result.stderr
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob(".out*"))


def test_a_narrow_terminal_cuts_no_number(capsys, monkeypatch):
    from autost_optuna.cli.printing import print_table

    monkeypatch.setenv("COLUMNS", "30")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    print_table(["trial", "mJ", "heads"], [["123456", "0.0468123", "8/4/8/4/8/4/8/4/8/4"]], fold=["heads"])
    printed = capsys.readouterr().out
    assert "123456" in printed
    assert "0.0468123" in printed
    assert "…" not in printed


def test_numbers_for_people():
    assert [energy(value) for value in (2.0652, 0.468, 0.00789, 5e-7)] == ["2.07 mJ", "0.468 mJ", "7.89 µJ", "0.500 nJ"]
    assert [duration(value) for value in (0.42, 73, 725, 7380)] == ["0.42 s", "73 s", "12 min 5 s", "2 h 3 min"]
    assert (share(0.9716), share(0.5, 0.0125)) == ("97.2 %", "50.0 ± 1.2 %")
    assert (counted(1, "trial"), counted(1200, "trial")) == ("1 trial", "1,200 trials")
    assert one_line("a\nb\x1b[31m c ") == "a b [31m c"


PLAN = """
space = "tiny"
uniform = true
task = "digits"
images = 2
seeds = 2
energy = "memory"
population = 12
seed = 3
"""


@pytest.mark.slow
def test_a_plan_equals_its_options(cli, tmp_path):
    (tmp_path / "plan.toml").write_text(PLAN)
    options = "--space tiny --uniform --task digits --images 2 --seeds 2 --energy memory --population 12 --seed 3"
    assert cli("study", "create", "planned", "--plan", "plan.toml").exit_code == 0
    assert cli("study", "create", "typed", *options.split()).exit_code == 0
    planned, typed = (json.loads(cli("study", "show", name, "-f", "json").stdout) for name in ("planned", "typed"))
    assert {**planned, "name": "typed"} == typed
    assert planned["settings"]["seeds"] == 2
    assert planned["settings"]["convention"]["name"] == "memory"


@pytest.mark.slow
def test_what_is_typed_counts_more_than_the_plan(cli, tmp_path):
    (tmp_path / "plan.toml").write_text(PLAN)
    assert cli("study", "create", "demo", "--seed", "5", "--plan", "plan.toml").exit_code == 0
    settings = json.loads(cli("study", "show", "demo", "-f", "json").stdout)["settings"]
    assert (settings["seed"], settings["images"]) == (5, 2)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("spice = 1", "plan plan.toml: unknown key 'spice'; allowed are space, uniform, task"),
        ("storage = 'x'", "unknown key 'storage'"),
        ("images = 'many'", "'many' is not a valid integer"),
        ("space = 5", "no space '5'"),
        ("images = 0", "images 0"),
        ("space = [", "plan.toml is not TOML"),
        (None, "plan.toml"),
    ],
)
def test_a_wrong_plan_is_refused(cli, tmp_path, text, said):
    if text is not None:
        (tmp_path / "plan.toml").write_text(text)
    result = cli("study", "create", "demo", "--plan", "plan.toml")
    assert result.exit_code == 2
    assert said in result.stderr
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "autost.journal").exists()


STUDIES = Path(__file__).parent.parent / "studies"


@pytest.mark.parametrize("path", sorted(STUDIES.glob("*/plan.toml")), ids=lambda path: path.parent.name)
def test_plans_of_studies_name_the_command_that_runs_them(path):
    command = re.search(r"#   python (studies/\S+\.py)", path.read_text())
    assert command
    assert (path.parent.parent.parent / command.group(1)).is_file()


@pytest.mark.slow
def test_the_first_studys_plan_is_one_for_the_command_line(cli, tmp_path):
    write_cifar10(tmp_path / "data")
    plan = STUDIES / "first" / "plan.toml"
    assert cli("study", "create", "first", "--plan", plan, "--data-root", "data").exit_code == 0
    settings = json.loads(cli("study", "show", "first", "-f", "json").stdout)["settings"]
    assert (settings["space"]["name"], settings["data"], settings["population"]) == ("small", "cifar10", 50)
