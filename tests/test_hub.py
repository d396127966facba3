"""The packages for OptunaHub: loaded as the hub loads them, without a network."""

import os
import re
import shutil
from pathlib import Path

import optuna
import optunahub
import pytest
import warm
import yaml

from autost_optuna import Objective, Space, Task

REGISTRY = Path(__file__).parent.parent / "package"
SAMPLER, PROBLEM = PACKAGES = ("samplers/declared_nsgaii", "benchmarks/autost")
TOY = "embed_dim = [16, 32]\ndepth = [1, 2]\nnum_heads = [2, 4]\nmlp_ratio = [1, 2]\n"


@pytest.fixture
def hub(tmp_path):
    """The folder in which optunahub looks before it asks the network, with our packages as if it had fetched them."""
    home = tmp_path / "hub"
    shutil.copytree(REGISTRY, home / "github.com" / "optuna" / "optunahub-registry" / "main" / "package")
    return home


def load(package):
    return optunahub.load_local_module(package, registry_root=str(REGISTRY))


@pytest.mark.slow
def test_sampler_and_problem_search_together(tmp_path):
    (tmp_path / "toy.toml").write_text(TOY)
    problem = load(PROBLEM).Problem(str(tmp_path / "toy.toml"), "digits")
    sampler = load(SAMPLER).DeclaredNSGAIISampler(problem.search_space, active=problem.active, seed=0)
    study = optuna.create_study(directions=problem.directions, sampler=sampler)
    study.optimize(problem, n_trials=100)
    assert len(study.trials) == 40  # 2 widths, 2 x 2 choices a block: the space is exhausted, without a repeat
    assert {trial.state for trial in study.trials} == {optuna.trial.TrialState.COMPLETE}
    assert len({str(trial.params) for trial in study.trials}) == 40
    assert {"num_heads_02" in trial.params for trial in study.trials if trial.params["depth"] == 1} == {False}
    # What the problem gives is what the package's own objective gives.
    objective = Objective(Space.load(str(tmp_path / "toy.toml")), Task.preset("digits"))
    for trial in study.trials[:5]:
        candidate = objective.evaluate(objective.space.architecture(trial.params))
        assert (candidate.flops, candidate.energy_mj) == tuple(trial.values) == problem.evaluate(trial.params)


def test_the_problem_keeps_the_hubs_interface(tmp_path):
    (tmp_path / "toy.toml").write_text(TOY)
    problem = load(PROBLEM).Problem(str(tmp_path / "toy.toml"), "digits", uniform=True)
    assert isinstance(problem, optunahub.benchmarks.BaseProblem)
    assert [direction.name for direction in problem.directions] == ["MAXIMIZE", "MINIMIZE"]
    assert list(problem.search_space) == ["embed_dim", "depth", "num_heads", "mlp_ratio"]
    study = optuna.create_study(directions=problem.directions, sampler=optuna.samplers.RandomSampler(seed=0))
    study.optimize(problem, n_trials=3)
    assert all(trial.params.keys() == problem.search_space.keys() for trial in study.trials)
    deep = {"embed_dim": 16, "depth": 2, "num_heads": 2, "mlp_ratio": 1}
    assert problem.evaluate({**deep, "unused": 3}) == problem.evaluate(deep)
    with pytest.raises(ValueError, match="no space 'nope'"):
        load(PROBLEM).Problem("nope")


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_has_what_the_registry_asks_for(package):
    folder = REGISTRY / package
    assert {path.name for path in folder.iterdir()} - {"__pycache__"} == {
        "__init__.py",
        "README.md",
        "LICENSE",
        "example.py",
        "requirements.txt",
    }
    _, front_matter, text = (folder / "README.md").read_text().split("---\n", 2)
    header = yaml.safe_load(front_matter)
    assert list(header) == ["author", "title", "description", "tags", "optuna_versions", "license"]
    assert header["tags"][0] == package.split("/")[0].removesuffix("s")
    assert header["license"] == (folder / "LICENSE").read_text().splitlines()[0] == "MIT License"
    assert all(isinstance(value, str) for value in (*header["tags"], *header["optuna_versions"]))
    assert optuna.__version__ in header["optuna_versions"]
    assert re.findall(r"^## (.*)", text, re.MULTILINE) == ["Abstract", "APIs", "Installation", "Example", "Others"]
    assert "Please fill in" not in text
    for name in load(package).__all__:
        assert f"`{name}" in text


@pytest.mark.parametrize("package", PACKAGES)
@pytest.mark.parametrize("kind", ["example", "readme"])
@pytest.mark.slow
@pytest.mark.process
def test_the_example_of_a_package_runs(package, kind, hub, tmp_path):
    folder = REGISTRY / package
    code = (folder / "example.py").read_text()
    if kind == "readme":
        (code,) = re.findall(r"^```python\n(.*?)^```", (folder / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    code = re.sub(r"n_trials=\d+", "n_trials=12", code)
    environment = {**os.environ, "OPTUNAHUB_CACHE_HOME": str(hub), "PYTHONPATH": str(REGISTRY.parent)}
    result = warm.run(["-c", code], cwd=tmp_path, capture_output=True, text=True, env=environment, timeout=120)
    assert result.returncode == 0, result.stderr
    assert result.stdout
