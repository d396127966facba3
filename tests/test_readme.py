"""The README is true: its tour runs as it stands, its tree lists what is there, its figures are the study's."""

import csv
import json
import re
import shlex
import shutil
from pathlib import Path

from autost_optuna.proxies.convention import CONVENTIONS
from autost_optuna.ranks import rank
from autost_optuna.training.worth import ELSEWHERE

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
PROSE = " ".join(README.split())


def fence(name):
    blocks = re.findall(rf"^```sh {name}\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
    assert len(blocks) == 1, name
    return blocks[0].strip()


def test_both_commands_are_one_line_with_an_environment_of_their_own():
    for name, ending in (
        ("main", "autost-optuna quickstart"),
        ("test", "pytest -n auto --maxprocesses 4 --dist worksteal"),
    ):
        command = fence(name)
        assert "\n" not in command
        assert "-m venv" in command
        assert "constraints.txt" in command
        assert command.endswith(ending)


def test_the_tour_runs_as_it_stands(cli, tmp_path):
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    commands = [line for line in fence("tour").splitlines() if line and not line.startswith("#")]
    seen = set()
    for line in commands:
        words = shlex.split(line, comments=True)
        assert words.pop(0) == "autost-optuna"
        seen.add(" ".join(words[:2]) if words[0] == "study" else words[0])
        if words[0] == "dashboard":
            words.append("--help")  # it would serve until interrupted
        result = cli(*words)
        assert result.exit_code == 0, (line, result.output)
        assert result.stdout, line
        assert "degenerate" not in result.stderr, line  # a front of the tour's space says something
        assert words[0] != "export" or "untrained weights (at initialisation)" in result.stdout
    from autost_optuna.cli import main

    every = {f"study {name}" for name in main.commands["study"].commands} | set(main.commands) - {"study", "quickstart"}
    assert seen == every - {"study rescue"}  # which needs a damaged journal


def test_the_tree_lists_every_file_of_the_package_and_nothing_else():
    tree = re.search(r"^```text tree\n(.*?)^```", README, re.DOTALL | re.MULTILINE).group(1)
    listed, folders = set(), []
    for line in tree.splitlines():
        depth = (len(line) - len(line.lstrip())) // 4
        entry, _, clause = line.strip().partition(" ")
        assert clause.strip(), f"{entry} has no clause"
        folders[depth:] = [entry.rstrip("/")] if entry.endswith("/") else []
        if not entry.endswith("/"):
            listed.add("/".join([*folders, entry]))
    for path in listed:
        assert (ROOT / path).exists(), path
    there = {str(path.relative_to(ROOT)) for path in (ROOT / "autost_optuna").rglob("*.py")}
    undescribed = {path for path in there - listed if not path.endswith("__init__.py")}
    assert undescribed == set()


def parsed(words):
    """The context of a command line, parsed by the program and not run."""
    from autost_optuna.cli import main

    command, words = main, list(words)
    assert words.pop(0) == "autost-optuna"
    while hasattr(command, "commands"):
        command = command.commands[words.pop(0)]
    return command.make_context(command.name, words)


def test_the_commands_of_slurm_and_kubernetes_parse_and_hold_no_password(monkeypatch):
    import yaml

    monkeypatch.setenv("OPTUNA_STORAGE", "postgresql+psycopg://me:secret@host/db")
    script = fence("slurm")
    (line,) = (line for line in script.splitlines() if line.startswith("srun "))
    (job,) = re.findall(r"^```yaml kubernetes\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
    (container,) = yaml.safe_load(job)["spec"]["template"]["spec"]["containers"]
    for words in (shlex.split(line)[1:], container["command"]):
        assert not [word for word in words if "://" in word]
        options = parsed(words).params
        assert (options["until_converged"], options["trials"]) == (True, 2000)
        assert options["storage"] == "postgresql+psycopg://me:secret@host/db"
    assert parsed(shlex.split(line)[1:]).params["workers"] == int(re.search(r"cpus-per-task=(\d+)", script).group(1))
    assert container["env"][0]["name"] == "OPTUNA_STORAGE"
    assert "valueFrom" in container["env"][0]
    assert "OPTUNA_STORAGE" in script


def test_links_and_figures_lead_somewhere():
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target


def test_figures_quoted_of_the_first_study_are_its_results():
    results = json.loads((ROOT / "studies" / "first" / "results.json").read_text())
    quoted = re.search(r"(\d+)\s+members\s.*?\sSpearman\s+(0\.\d+)", README, re.DOTALL)
    assert int(quoted.group(1)) == results["front_size"]
    assert float(quoted.group(2)) == round(results["spearman"], 3)


def test_times_and_ratios_quoted_are_the_measured_ones():
    results = json.loads((ROOT / "studies" / "first" / "results.json").read_text())
    bench = json.loads((ROOT / "studies" / "bench" / "search.json").read_text())
    assert f"It took {results['duration_s']:.0f} s on 2 cores" in README
    assert f"among {results['unique']} architectures" in README
    assert (
        f"{bench['ours_s']['total'] * 1e3:.0f} ms a trial against {bench['theirs_s']['total'] * 1e3:.0f} ms" in README
    )
    assert f"a ratio of {bench['ratio']:.1f}" in README
    for part in ("sampling", "storage", "evaluation"):
        assert f"{bench['ours_s'][part] * 1e3:.1f} ms {part}" in README


def test_samplers_are_compared_as_they_were_measured():
    bench = json.loads((ROOT / "studies" / "bench" / "sampler.json").read_text())
    names = {
        "ours": "`DeclaredNSGAIISampler`",
        "stock_nsgaii": "Optuna's `NSGAIISampler`",
        "tpe": "Optuna's `TPESampler`",
        "random": "Optuna's `RandomSampler`",
        "pymoo_nsga2": "pymoo's `NSGA2`",
    }
    counts = {"six_genes": ("100", "500", "1000"), "per_block": ("500", "1000", "5000")}
    for sampler, name in names.items():
        cells = []
        for problem, numbers in counts.items():
            found = bench["problems"][problem][sampler]["hypervolume"]
            cells.append(", ".join(f"{found[n]['mean']:.3f}"[1:] if n in found else "-" for n in numbers))
        assert f"| {name} | {' | '.join(cells)} |" in README
    ours, stock, tpe = (bench["problems"]["six_genes"][name] for name in ("ours", "stock_nsgaii", "tpe"))
    assert not any(sum(bench["problems"][problem]["ours"]["repeats"]) for problem in counts)
    assert f"repeated {min(stock['repeats']) / 10:.0f} to {max(stock['repeats']) / 10:.0f} % of 1,000" in PROSE
    said = f"{1e3 * tpe['cpu_s'] / 1000:.0f} ms a trial of CPU time, against {1e3 * ours['cpu_s'] / 1000:.1f} ms"
    assert said in PROSE
    assert f"take {bench['cpu_s']['ours']:.0f} s of CPU time, {bench['ratio']:.0f} times less than Optuna's" in PROSE
    # What was aimed for.
    least = {p: {n: v["least"] for n, v in bench["problems"][p]["ours"]["hypervolume"].items()} for p in counts}
    assert least["six_genes"]["500"] >= 0.92
    assert least["six_genes"]["1000"] >= 0.998
    assert least["per_block"]["5000"] >= 0.95
    assert bench["ratio"] >= 8
    assert bench["distinct_of_four_workers"] >= 0.99


def test_what_is_said_of_workers_is_what_was_measured():
    bench = json.loads((ROOT / "studies" / "bench" / "workers.json").read_text())
    for said in (
        f"`studies/bench/bench_workers.py`, {bench['rounds']} rounds",
        f"two workers ran {bench['over_default_threads']['median']:.2f} times as many trials a second",
        f"and {bench['over_one_thread']['median']:.2f} times as many as one with a single thread",
        f"of some seconds, {bench['whole_over_default_threads']['median']:.2f} times",
    ):
        assert said in PROSE, said


def test_what_is_said_of_the_exact_front_is_what_was_measured():
    results = json.loads((ROOT / "studies" / "exact" / "results.json").read_text())
    study = (ROOT / "studies" / "exact" / "README.md").read_text()
    for name, found in results["spaces"].items():
        assert f"| {name} | {found['architectures']:,} | {found['classes']:,} | {found['members']} |" in study
        assert f"| {found['hypervolume']:.4f} |" in study
    small, searches = results["spaces"]["small"], results["searches_of_small"]
    shares = [100 * row["share"] for row in searches]
    assert f"reach {min(shares):.1f} to {max(shares):.1f} % of the exact hypervolume" in PROSE
    assert f"at most {100 * small['spread']['high']:.1f} % from the measured one" in PROSE
    calm = min(searches, key=lambda row: row["exact_s"])
    assert f"it takes {calm['exact_s']:.0f} s, while 1,000 trials of the search take {calm['search_s']:.0f} s" in PROSE
    for row in searches:
        after = [f"{row['share_after'][count]:.3f}"[1:] for count in ("100", "300", "500", "1000")]
        assert f"| {row['seed']} | {' | '.join(after)} | {row['trials_to_95']} trials |" in study


def test_times_of_an_energy_quoted_are_the_measured_ones():
    bench = json.loads((ROOT / "studies" / "bench" / "energy.json").read_text())
    seconds = {name: f"{1e3 * value:.0f}" for name, value in bench["seconds"].items()}
    for said in (
        f"with nothing to reuse {bench['ratio_fresh']:.2f} of the plain pass",
        f"({seconds['fresh']} against {seconds['plain']} ms, {bench['counted']['plain']} networks)",
        f"{seconds['search']} ms a candidate, {bench['ratio_reuse']:.1f} times below it",
        f"takes {bench['ratio_simple']:.1f} times as long as ours",
    ):
        assert said in PROSE
    assert bench["ratio_fresh"] <= 1.3
    assert bench["ratio_reuse"] >= 3


def test_what_is_said_of_proxies_is_what_training_showed():
    found = json.loads((ROOT / "studies" / "proxy_validity" / "summary-cpu.json").read_text())
    said, within, fronts = found["verdicts"], sorted(found["flops_within_a_width"].values()), found["fronts"]
    ratios = [1 / ratio for ratio in found["measured_over_predicted"]]
    best = max((name for name in said if name not in ("embed_dim", "depth")), key=lambda name: float(said[name][:4]))
    assert best == "sahd"
    for sentence in (
        f"rank their accuracy at Kendall {said['flops']}, but",
        f"the wrong way round ({within[0]} to {within[-1]})",
        f"any of ten proxies ({said['embed_dim'][:4]}; SAHD {said['sahd'][:4]})",
        f"without an exchange (Kendall {found['energy']['predicted_mj'][:4]}), and is {ratios[-1]:.2f} to {ratios[0]:.2f} of",
        f"shares {fronts['in_common']} of its {fronts['front_without_training']} members with the "
        f"{fronts['front_after_training']} of the front",
        f"keeps {100 * fronts['hypervolume_kept']:.1f} % of the hypervolume, no more than as many drawn at random "
        f"({100 * fronts['hypervolume_kept_by_as_many_at_random']:.1f} %)",
    ):
        assert sentence in PROSE, sentence
    with (ROOT / "studies" / "proxy_validity" / "results-cpu.csv").open(newline="") as file:
        first = [row for row in csv.DictReader(file) if row["seed"] == "0"]

    def alike(one, other):
        return rank([float(row[one]) for row in first], [float(row[other]) for row in first]).spearman

    assert (
        f"SAHD ranks as energy does at Spearman {alike('sahd', 'energy_mj'):.2f}, SNIP as FLOPs do at "
        f"{alike('snip', 'flops'):.2f}" in PROSE
    )
    assert float(said["embed_dim"][:4]) > float(said["sahd"][:4]) > float(said["flops"][:4])
    assert fronts["hypervolume_kept"] <= fronts["hypervolume_kept_by_as_many_at_random"]
    for part in (
        f"{fronts['architectures']} narrow networks",
        f"after {found['plan']['cpu']['recipe']['epochs']} epochs at Kendall {said['flops']}, but at "
        f"{within[0]} to {within[-1]} within one width",
    ):
        assert part in ELSEWHERE, part


def test_what_is_said_of_the_published_spikingformer_was_measured():
    found = json.loads((ROOT / "studies" / "true_spikingformer" / "results.json").read_text())["networks"]
    study = (ROOT / "studies" / "true_spikingformer" / "README.md").read_text()

    def energy(of):
        ends = f" ({min(of['energies_mj']):.3f} to {max(of['energies_mj']):.3f})" if len(of["energies_mj"]) > 1 else ""
        return f"{of['energy_mj']:.3f}{ends}"

    for name, row in found.items():
        theirs, ours = row["as_published"], row["autost_form"]
        cells = [
            name.capitalize(),
            f"{theirs['params']:,}",
            f"{theirs['macs'] / 1e9:.6f}",
            energy(theirs),
            energy(ours),
            f"{row['ratio']:.1f}",
        ]
        assert f"| {' | '.join(cells)} |" in study
    theirs, ours = (found["spikingformer-4-384"][form] for form in ("as_published", "autost_form"))
    assert (
        f"Spikingformer-4-384 costs {theirs['energy_mj']:.2f} mJ as its authors build it ({min(theirs['energies_mj']):.2f} to "
        f"{max(theirs['energies_mj']):.2f} over three seeds) and {ours['energy_mj']:.2f} mJ in AutoST's form" in PROSE
    )
    for said in (
        f"Of 4-384's {ours['energy_mj']:.3f} mJ, {ours['real_valued_mj']:.3f} are",
        f"{theirs['real_valued_mj']:.3f} mJ, the first",
    ):
        assert said in study


def test_the_worked_energy_example_is_right():
    from autost_optuna import Architecture, Task
    from autost_optuna.network.operations import operations

    ledger = operations(Architecture.from_text("C=256,depth=4,heads=8,ratio=4"), Task.preset("cifar10"))
    rows = {row.name: row for row in ledger}
    position, conv2 = rows["stem.position"], rows["stem.conv2"]
    assert f"{position.macs:,} MACs" in README
    assert f"{position.total_macs * 4.6e-9:.3f} mJ" in README
    assert f"{conv2.macs:,} MACs" in README
    assert f"{0.069 * conv2.total_macs * 0.9e-9:.4f} mJ" in README
    assert f"{0.069 * conv2.total_macs * (0.9 + 32 * 3.12) * 1e-9:.3f} mJ" in README


def test_the_table_of_conventions_is_that_of_the_files():
    for convention in CONVENTIONS.values():
        bit = f" {convention.bit.pj} pJ" if convention.bit.pj else ""
        row = f"{convention.mac.pj} pJ | {convention.accumulate.pj} pJ |{bit} | "
        line = next(line for line in README.splitlines() if line.startswith(f"| `{convention.name}`"))
        assert row in line
        assert ("once" in line) == (convention.first_convolution == "once")


def test_what_is_said_of_networks_without_spikes_is_what_was_measured():
    rows = list(csv.DictReader((ROOT / "studies" / "energy_conventions" / "results.csv").read_text().splitlines()))
    assert len(rows) == 15 * len(CONVENTIONS)

    def of(convention):
        return [row for row in rows if row["convention"] == convention]

    def cheaper(found, against="int8_mj"):
        return sum(float(row["spiking_int8_mj"]) < float(row[against]) for row in found)

    lines = (
        ("horowitz-45nm-fp32", "energy", "8 bits"),
        ("horowitz-45nm-int8", "int8_mj", "8 bits"),
        ("horowitz-45nm-int8", "activation_bits_mj", "3 or 4 bits"),
        ("memory", "int8_mj", "8 bits"),
    )
    for convention, against, said in lines:
        split = [[row for row in of(convention) if (row["task"] == "nmnist") == events] for events in (False, True)]
        if against == "energy":  # under its own convention
            counts = [sum(float(row["rate_mj"]) < float(row["int8_mj"]) for row in found) for found in split]
        else:
            counts = [cheaper(found, against) for found in split]
        row = f"| {said} | {counts[0]} of {len(split[0])} | {counts[1]} of {len(split[1])} |"
        assert any(line.startswith(f"| `{convention}`") and line.endswith(row) for line in README.splitlines()), row
    assert all(row["break_even_rate"] == "" for row in of("horowitz-45nm-fp32") + of("horowitz-45nm-fp16"))
    excess = [float(row["excess"]) for row in rows]
    assert (round(100 * min(excess), 2), round(100 * max(excess), 1)) == (0.05, 1.2)
    assert round(100 * max(float(row["excess_accumulates"]) for row in rows), 1) == 3.6


def test_what_is_said_of_convergence_is_what_was_measured():
    results = json.loads((ROOT / "studies" / "energy_convergence" / "results.json").read_text())
    single = results["by_seeds"][0]
    assert (single["seeds"], single["images"]) == (1, 4)
    for said in (
        f"standard deviation of {100 * single['deviation']:.2f} %",
        f"two networks one of {100 * single['deviation_of_ratios']:.2f} %",
        f"Kendall {single['kendall_mean']:.3f}",
        f"and {results['architectures']} random networks",
    ):
        assert said in PROSE
    study = (ROOT / "studies" / "energy_convergence" / "README.md").read_text()
    for line in (*results["by_images"], *results["by_seeds"]):
        low, high = (100 * end for end in line["deviation_interval"])
        start = f"| {line.get('seeds', line['images'])} | "
        assert any(
            row.startswith(start)
            and f"{100 * line['deviation']:.2f} % ({low:.2f} to {high:.2f})" in row
            and row.endswith(f"| {line['kendall_mean']:.3f}, {line['kendall_least']:.3f} |")
            for row in study.splitlines()
        ), line
