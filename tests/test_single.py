"""Networks by name or written down: trained and exported without being a trial of a search."""

import csv
import io
import json
import runpy

import pytest
from makers import ROOT

from autost_optuna import Architecture, Space, Task, load
from autost_optuna.cli.selected import Selection, selected
from autost_optuna.delivery.reproduce import commands_of
from autost_optuna.network.families import FAMILIES, NETWORKS
from autost_optuna.search.settings import Plan
from autost_optuna.search.single import name_of_network, study_of
from autost_optuna.search.study import create, open_search
from autost_optuna.space.single import space_around, values_of
from autost_optuna.training.records import trainings_of

PYRAMID = "C=32,depth=2,mixer=qkta/ssa,heads=2,ratio=2,neuron=lif,stem=qkformer,residual=spike,depths=1/1"
QUICK = ("--epochs", "1", "--images", "64", "--eval-images", "50", "--test-images", "50")


@pytest.mark.parametrize("name", NETWORKS)
def test_a_space_around_a_network_holds_it(name):
    architecture = NETWORKS[name].architecture
    space = space_around(architecture, "one")
    assert architecture in space
    assert space.architecture(values_of(space, architecture)) == architecture
    assert Space.from_dict(space.to_dict()) == space
    for task in ("cifar10", "imagenet"):
        space.check(Task.preset(task))


def test_families_holds_every_family_for_cifar_and_names_its_parameters():
    space = Space.load("families")
    for network in NETWORKS.values():
        if network.task == "cifar10":
            assert network.architecture in space, network.name
            assert space.architecture(values_of(space, network.architecture)) == network.architecture
    other = NETWORKS["spikformer-8-768"].architecture
    assert other not in space
    with pytest.raises(ValueError, match="is no architecture of the space families"):
        values_of(space, other)


def test_compact_holds_every_family_at_two_widths_or_more():
    space = Space.load("compact")
    assert set(space.form["stem"]) == set(FAMILIES)
    study = runpy.run_path(str(ROOT / "studies" / "families" / "run.py"))
    assert {NETWORKS[name].family for name in study["PATTERNS"]} == set(FAMILIES)
    for name in study["PATTERNS"]:  # what the authors publish, at other widths
        assert all(study["at_width"](name, width) in space for width in (96, 192)), name


@pytest.mark.slow
def test_a_network_without_a_study_gets_one_of_its_own(cli, tmp_path):
    (tmp_path / "tiny.json").write_text(
        json.dumps(NETWORKS["qkformer-4-384"].architecture.from_text(PYRAMID).to_dict())
    )
    task = tmp_path / "t.toml"
    task.write_text('image_size = 8\nchannels = 1\nnum_classes = 10\ntime_steps = 2\npooling = "0001"\nname = "t"\n')
    for _ in range(2):  # the second time it is trained already
        result = cli("train", "--network", "tiny.json", "--task", "t.toml", "--data", "digits", *QUICK)
        assert result.exit_code == 0, result.output
    name = name_of_network("tiny.json", Architecture.from_text(PYRAMID))
    assert name.startswith("tiny-")
    search = open_search(f"{name}-t", str(tmp_path / "autost.journal"))
    (trained,) = trainings_of(search)
    assert trained.architecture == search.candidate(0).architecture
    assert (trained.search_trial, trained.title) == (0, "trial 0")
    assert len(search.study.get_trials()) == 1
    # Another command may name other images to train on, or none; the study keeps those that it was made on.
    again, candidate = study_of(f"{name}-t", trained.architecture, search.storage, search.settings.task, "cifar10")
    assert (again.settings, candidate.number) == (search.settings, 0)
    with pytest.raises(
        ValueError, match=rf"has task .*; study {name}-t: remove it by autost-optuna study delete {name}-t"
    ):
        study_of(f"{name}-t", trained.architecture, search.storage, Task.preset("digits"), "digits")


def test_a_published_network_is_described_on_another_task(cli):
    assert cli("describe", "sdt-2-256", "--task", "nmnist").exit_code == 0


def test_a_family_lists_its_networks(cli):
    listed = cli("describe", "QKFormer")
    assert listed.exit_code == 0, listed.output
    lines = listed.stdout.splitlines()
    assert lines[0].split() == ["network", "task", "M", "params", "GMACs", "published", "accuracy"]
    assert [line.split()[0] for line in lines[1:]] == list(FAMILIES["qkformer"])
    assert lines[1].split()[:4] == ["qkformer-4-384", "cifar10", "6.71", "6.06"]
    assert "next: autost-optuna describe qkformer-4-384" in listed.stderr
    rows = json.loads(cli("describe", "autost", "-f", "json").stdout)
    assert {Architecture.from_text(row["architecture"]) for row in rows} == {
        NETWORKS[name].architecture for name in FAMILIES["autost"]
    }
    table = list(csv.DictReader(io.StringIO(cli("describe", "sdt", "-f", "csv").stdout)))
    assert [row["name"] for row in table] == list(FAMILIES["sdt"])


def test_files_of_one_name_get_studies_of_their_own():
    one, other = Architecture.from_text(PYRAMID), Architecture.from_text(PYRAMID.replace("ratio=2", "ratio=3"))
    assert name_of_network("a/net.json", one) == name_of_network("b/net.json", one)
    assert name_of_network("a/net.json", one) != name_of_network("a/net.json", other)
    assert not name_of_network("0.json", one).isdecimal()


def test_a_network_that_could_not_be_measured_says_so_and_may_be_tried_again(tmp_path, monkeypatch):
    architecture = Architecture.from_text("C=16,depth=2,mixer=sdsa/identity,ratio=2,stem=sdt,T=2")
    storage, task = str(tmp_path / "a.journal"), Task.preset("digits")
    create("one", storage, Plan(space_around(architecture, "one"), task, data="digits"))
    with monkeypatch.context() as patch:
        patch.setattr("autost_optuna.search.evaluate.MOST_DEAD", -1.0)
        with pytest.raises(
            ValueError, match=r"one: C=16,.* could not be measured: silent network: mean spike rate 0\.\d+"
        ):
            study_of("one", architecture, storage, task, "digits")
    search, candidate = study_of("one", architecture, storage, task, "digits")
    assert candidate.architecture == architecture
    assert [trial.state.name for trial in search.study.trials] == ["PRUNED", "COMPLETE"]


@pytest.mark.slow
def test_a_network_is_trained_and_exported_beside_a_search(cli, tmp_path):
    (tmp_path / "toy.toml").write_text("embed_dim = [16, 32]\ndepth = [1]\nnum_heads = [2]\nmlp_ratio = [1]\n")
    assert cli("study", "create", "demo", "--space", "toy.toml", "--task", "digits").exit_code == 0
    assert cli("study", "run", "demo", "--trials", "2").exit_code == 0
    text = "C=16,depth=1,mixer=sdsa,ratio=2,stem=sdt,T=2"
    result = cli("train", "demo", "--network", text, "--knee", *QUICK)
    assert result.exit_code == 0, result.output
    search = open_search("demo", str(tmp_path / "autost.journal"))
    found = {one.title: one for one in trainings_of(search)}
    (name,) = (title for title in found if title.startswith("network-"))
    assert found[name].architecture.to_text() == text
    assert found[name].search_trial is None
    assert len(found) == 2
    assert len(search.study.get_trials()) == 2
    written = search.candidate(0).architecture.to_text()
    one = Selection(network=written, task=None, trials=(0,))
    assert [candidate.number for candidate in selected("demo", one, search.storage)[1]] == [0]  # ordered once
    assert cli("study", "show", "demo").exit_code == 0
    front = cli("study", "front", "demo", "--trained", "-f", "json")
    assert front.exit_code == 0, front.output
    assert {(row["number"], row["network"]) for row in json.loads(front.stdout)} == {
        (found[title].search_trial, found[title].network) for title in found
    }
    assert name in cli("study", "front", "demo", "--trained").stdout
    assert [line for line in commands_of(search, trainings_of(search)) if f"--network {text}" in line]
    path = found[name].path
    exported = cli("export", "demo", "--network", text, "--checkpoint", f"{path}/model.safetensors", "-o", "out")
    assert exported.exit_code == 0, exported.output
    assert load(tmp_path / "out").architecture == found[name].architecture
    assert "Measured by autost-optuna beside study" in (tmp_path / "out" / "README.md").read_text()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("train",), "Give STUDY, or --network NAME alone."),
        (("train", "--network", "qkformer"), "qkformer is a family; choose one of qkformer-4-384, "),
        (("train", "--network", "vit"), "none of FILE.json, FILE.yaml, STUDY:TRIAL"),
        (("train", "--network", "qkformer-4-384", "--knee"), "Give STUDY, or --network NAME alone."),
        (("train", "--network", "qkformer-4-384", "--task", "digits"), "3 stages halve the image 2 times"),
        (("study", "baseline", "demo", "--rebuilt"), "Give --rebuilt with the NETWORKs whose sizes are meant."),
        (("describe", PYRAMID.replace("ssa", "mamba")), "mixer 'mamba' is unknown; choose one of ssa, "),
        (("describe", PYRAMID.replace("heads=2", "heads=3")), "num_heads 3 does not divide embed_dim 16"),
        (("describe", f"{PYRAMID},T=4", "--task", "nmnist"), "time_steps 4 cannot be chosen for recordings"),
        (("describe", PYRAMID.replace("qkformer", "sdt")), "stem sdt has no embedding for a second stage"),
        (("describe", PYRAMID.replace("depths=1/1", "depths=1/2")), "depths [1, 2] have 3 blocks, and depth is 2"),
    ],
    ids=lambda value: " ".join(value)[:60] if isinstance(value, tuple) else "",
)
def test_a_mistake_is_one_line_with_its_remedy(cli, tmp_path, words, said):
    result = cli(*words)
    assert result.exit_code == 2
    assert said in result.stderr
    assert not list(tmp_path.iterdir())
