"""Figures in prose are the measured ones: a marker behind a figure names its source, and every marker is followed here.

Three kinds of marker, which no reader of the rendered page sees:
    0.987<!-- studies/first/results.json: spearman .3f -->      a value of a JSON file, by its path of keys
    -2.5<!-- a/b.csv: points[role=equal energy] +.1f -->        a cell of a CSV file: its column, and what the row has
    20<!-- check: least_repeats .0% --> %                        what a function below computes
and, in front of a table, <!-- table: NAME -->: its rows are those that a function below gives.
A format is Python's; `%` leaves the sign to the prose, and `*1000` in front of it multiplies.
"""

import csv
import importlib
import json
import re
import sys
from functools import cache, partial
from pathlib import Path

import pytest

from autost_optuna.network.families import NETWORKS
from autost_optuna.proxies.convention import CONVENTIONS
from autost_optuna.ranks import rank
from autost_optuna.training.worth import ELSEWHERE

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted(ROOT.glob("docs/*.md")), *sorted(ROOT.glob("studies/**/*.md"))]
MARKER = re.compile(r"<!--\s+(\S+):\s+(.*?)\s+-->", re.DOTALL)
FORMAT = re.compile(r"(?:\s+\*([\d.e-]+))?(?:\s+([+,]*(?:\.\d+)?[fdgs%]|,))?$")


# --- reading ---


@cache
def read(name):
    """A result: JSON as it is, CSV as a list of rows."""
    with (ROOT / name).open(newline="") as file:
        return json.load(file) if name.endswith(".json") else list(csv.DictReader(file))


def value_of(source, key):
    """What a marker's source and key stand for; KeyError, FileNotFoundError or ValueError if there is nothing."""
    if source == "check":
        return FIGURES[key]()
    found = read(source)
    if source.endswith(".csv"):
        column, _, which = key.removesuffix("]").partition("[")
        wanted = dict(condition.split("=", 1) for condition in which.split("&"))
        (row,) = (row for row in found if all(row[name] == value for name, value in wanted.items()))
        return row[column]
    for part in key.split("."):
        found = found[int(part) if isinstance(found, list) else part]
    return found


def formatted(value, factor, form):
    if factor:
        value = float(value) * float(factor)
    if not form or form == "s":
        return str(value)
    number = round(float(value)) if form[-1] in ",d" else float(value)
    return f"{number:{form}}".rstrip("%").strip()


def without_fences(text):
    return re.sub(r"^```.*?^```", lambda fence: re.sub(r"\S", " ", fence[0]), text, flags=re.DOTALL | re.MULTILINE)


def markers(text):
    """Of every marker: what stands in front of it, its source, its key, its factor and format, and what follows."""
    text = without_fences(text)
    for found in MARKER.finditer(text):
        source, rest = found[1], " ".join(found[2].split())
        how = FORMAT.search(rest)
        yield text[: found.start()], source, rest[: how.start()], how[1], how[2], text[found.end() :]


def check_marker(before, source, key, factor, form, after):
    """AssertionError if the figure in front of a marker, or the table behind it, is not what its source says."""
    if source == "table":
        table = re.match(r"\n+((?:\|.*\n)+)", after)
        assert table, f"no table follows {key}"
        rows = [
            [MARKER.sub("", cell).strip() for cell in line.strip("|\n ").split("|")] for line in table[1].splitlines()
        ]
        assert rows[2:] == [[str(cell) for cell in row] for row in TABLES[key]()], key
        return
    said = formatted(value_of(source, key), factor, form)
    assert re.search(rf"(?<![\d.,+-]){re.escape(said)}$", before), f"{source}: {key} is {said}, not {before[-20:]!r}"


# --- figures that are computed from results ---


def over_rows(name, column, pick):
    return pick(float(row[column]) for row in read(name))


def shares_of_exact():
    return [row["share"] for row in read("studies/exact/results.json")["searches_of_small"]]


def calm():
    """The search that had the machine to itself."""
    return min(read("studies/exact/results.json")["searches_of_small"], key=lambda row: row["exact_s"])


def repeats():
    return [n / 1000 for n in read("studies/bench/sampler.json")["problems"]["six_genes"]["stock_nsgaii"]["repeats"]]


def within_a_width():
    return list(read("studies/proxy_validity/summary-cpu.json")["flops_within_a_width"].values())


def drift():
    """Energy at initialisation over that after training: least and largest."""
    ratios = read("studies/proxy_validity/summary-cpu.json")["measured_over_predicted"]
    return 1 / ratios[-1], 1 / ratios[0]


def alike(one, other):
    first = [row for row in read("studies/proxy_validity/results-cpu.csv") if row["seed"] == "0"]
    return rank([float(row[one]) for row in first], [float(row[other]) for row in first]).spearman


def verdict(proxy):
    return read("studies/proxy_validity/summary-cpu.json")["verdicts"][proxy][:4]


def best_proxy():
    """The proxy that ranks accuracy best; width and depth are no proxies of a network."""
    said = read("studies/proxy_validity/summary-cpu.json")["verdicts"]
    return max(
        (name for name in said if name not in ("embed_dim", "depth")), key=lambda name: float(said[name][:4])
    ).upper()


def true_energies(pick, name="spikingformer-4-384"):
    return pick(read("studies/true_spikingformer/results.json")["networks"][name]["as_published"]["energies_mj"])


def tiny():
    return read("studies/cifar10_tiny/results.json")["trained"]


def regrets():
    return sorted(halving["regret"] for halving in read("studies/halving/results.json")["halvings"])


def published_flops(column, pick):
    return pick(float(row[column]) for row in read("studies/reference_figures/verdicts.csv") if row["proxy"] == "flops")


@cache
def worked(name):
    """An operation of the worked example: C 256, depth 4 on CIFAR-10."""
    from autost_optuna import Architecture, Task
    from autost_optuna.network.chain import operations

    ledger = operations(Architecture.from_text("C=256,depth=4,heads=8,ratio=4"), Task.preset("cifar10"))
    return {row.name: row for row in ledger}[name]


FIGURES = {
    "least_share_of_exact": lambda: min(shares_of_exact()),
    "most_share_of_exact": lambda: max(shares_of_exact()),
    "seconds_of_exact": lambda: calm()["exact_s"],
    "seconds_of_search": lambda: calm()["search_s"],
    "least_repeats": lambda: min(repeats()),
    "most_repeats": lambda: max(repeats()),
    "rank_within_a_width_worst": lambda: min(within_a_width()),
    "rank_within_a_width_best": lambda: max(within_a_width()),
    "drift_least": lambda: drift()[0],
    "drift_most": lambda: drift()[1],
    "kendall_width": lambda: verdict("embed_dim"),
    "kendall_best_proxy": lambda: verdict(best_proxy().lower()),
    "kendall_energy": lambda: read("studies/proxy_validity/summary-cpu.json")["energy"]["predicted_mj"][:4],
    "best_proxy": best_proxy,
    "sahd_like_energy": lambda: alike("sahd", "energy_mj"),
    "snip_like_flops": lambda: alike("snip", "flops"),
    "true_least": lambda: true_energies(min),
    "true_most": lambda: true_energies(max),
    "excess_least": lambda: over_rows("studies/energy_conventions/results.csv", "excess", min),
    "excess_most": lambda: over_rows("studies/energy_conventions/results.csv", "excess", max),
    "excess_of_accumulates": lambda: over_rows("studies/energy_conventions/results.csv", "excess_accumulates", max),
    "tiny_energy_ratio": lambda: tiny()["energy_mj"] / tiny()["predicted_mj"],
    "regret_middle": lambda: 100 * regrets()[1],
    "regret_worst": lambda: 100 * regrets()[2],
    "published_least": lambda: published_flops("spearman", min),
    "published_most": lambda: published_flops("spearman", max),
    "published_fixed_least": lambda: published_flops("fixed_params", min),
    "published_fixed_most": lambda: published_flops("fixed_params", max),
    "position_macs": lambda: worked("stem.position").macs,
    "position_mj": lambda: worked("stem.position").total_macs * 4.6e-9,
    "conv2_macs": lambda: worked("stem.conv2").macs,
    "conv2_mj": lambda: 0.069 * worked("stem.conv2").total_macs * 0.9e-9,
    "conv2_mj_with_memory": lambda: 0.069 * worked("stem.conv2").total_macs * (0.9 + 32 * 3.12) * 1e-9,
}


# --- tables ---


def sampler_table():
    names = {
        "ours": "`DeclaredNSGAIISampler`",
        "stock_nsgaii": "Optuna's `NSGAIISampler`",
        "tpe": "Optuna's `TPESampler`",
        "random": "Optuna's `RandomSampler`",
        "pymoo_nsga2": "pymoo's `NSGA2`",
    }
    for sampler, name in names.items():
        cells = []
        for problem, counts in {"six_genes": ("100", "500", "1000"), "per_block": ("500", "1000", "5000")}.items():
            found = read("studies/bench/sampler.json")["problems"][problem][sampler]["hypervolume"]
            cells += [f"{found[n]['mean']:.3f}" if n in found else "-" for n in counts]
        yield name, *cells


def convention_table():
    for convention in CONVENTIONS.values():
        name = f"`{convention.name}`" + (" (default)" if convention.name == "horowitz-45nm-fp32" else "")
        prices = [
            f"{price.pj} pJ" if price.pj else "" for price in (convention.mac, convention.accumulate, convention.bit)
        ]
        once = convention.first_convolution == "once"
        sums = "MACs" if convention.integers == "mac" else "accumulates"
        yield name, *prices, "once, for a still image" if once else "at every step", sums
    yield "your `FILE.toml`, with `--energy`", "", "", "", "[example](../examples/my_chip.toml)", "accumulates or MACs"


def counters_table():
    names = {
        "audit": "`audit`",
        "integers-mac": "`audit --energy integers-mac`",
        "spikingjelly": "SpikingJelly's estimate, arithmetic alone",
        "syops": "syops",
        "neurobench": "NeuroBench's synaptic operations",
    }
    for name, found in read("studies/counters/results.json")["tools"].items():
        yield names[name], *(f"{found[n] / 1e6:.1f}" for n in ("macs", "accumulates")), f"{found['energy_mj']:.3f} mJ"


REPLAYED = {
    "refine": "by expected gain",
    "tpe": "TPE",
    "nsga2": "NSGA-II",
    "gp": "Optuna's Gaussian process",
    "random": "random",
    "flops": "even in FLOPs",
}


def refine_table(of):
    methods = read("studies/refine/results.json")[of]["methods"]
    for name, said in REPLAYED.items():
        if name in methods:
            shares = (one["mean"] for one in methods[name]["shares"].values())
            yield f"{said} ({methods[name]['seeds']} seeds)", *(f"{share:.3f}" for share in shares)


def predictor_table():
    for number, found in read("studies/predictor/results.json")["sizes"].items():
        both = (f"{found[name]['mean']:.2f} ± {found[name]['deviation']:.2f}" for name in ("expected", "unseen"))
        yield number, *both, f"{found['flops']['mean']:.2f}", f"{found['coverage']['mean']:.0%}"


def families_table():
    largest = {"sdt": "sdt-2-512", "spikingresformer": "spikingresformer-ti"}
    for row in read("studies/families/networks.csv"):
        if row["width"] == "384":
            accuracies = NETWORKS[largest.get(row["family"], f"{row['family']}-4-384")].accuracies
            said = " / ".join(f"{accuracies[data]:.2f}" for data in ("CIFAR-10", "CIFAR-100")) if accuracies else "-"
            counts = f"{int(row['params']) / 1e6:.2f}", f"{int(row['flops']) / 1e9:.2f}"
            yield row["family"], *counts, f"{float(row['energy_mj']):.3f}", said


def without_spikes_table():
    rows = read("studies/energy_conventions/results.csv")
    assert len(rows) == 15 * len(CONVENTIONS)
    lines = (
        ("horowitz-45nm-fp32", "", "rate_mj", "int8_mj", "8 bits"),
        ("horowitz-45nm-int8", "", "spiking_int8_mj", "int8_mj", "8 bits"),
        ("horowitz-45nm-int8", "", "spiking_int8_mj", "activation_bits_mj", "3 or 4 bits"),
        ("memory", ", its arithmetic and weights in 8 bits", "spiking_int8_mj", "int8_mj", "8 bits"),
    )
    for convention, more, ours, theirs, against in lines:
        counts = []
        for events in (False, True):
            found = [r for r in rows if r["convention"] == convention and (r["task"] == "nmnist") == events]
            counts.append(f"{sum(float(r[ours]) < float(r[theirs]) for r in found)} of {len(found)}")
        yield f"`{convention}`{more}", against, *counts


def training_table():
    for name, network in (
        ("train", "C 192, depth 4, 32x32, float32, `--compile`"),
        ("train_bf16", "the same, `bf16-mixed`, `--compile`"),
        ("train_uncompiled", "the same, float32, without `--compile`"),
        ("train_digits", "C 64, depth 2, digits, float32, `--compile`"),
        ("train_digits_uncompiled", "the same, without `--compile`"),
    ):
        found = read(f"studies/bench/{name}.json")
        speeds = [found["images_per_s"][side]["median"] for side in ("plain", "ours")]
        ratio = found["ratio"]
        times = f"{ratio['median']:.2f} ({ratio['least']:.2f} to {ratio['most']:.2f})"
        peaks = [f"{found['peak_bytes'][side] / 1e9:.1f} GB" for side in ("plain", "ours")]
        yield network, *(f"{speed:.3g}" for speed in speeds), times, *peaks


@cache
def headline():
    """The table of searched networks against sizes chosen by hand, as the study itself writes it."""
    folder = ROOT / "studies" / "cifar10_headline"
    sys.path.insert(0, str(folder))
    try:
        report = importlib.import_module("report")
    finally:
        sys.path.remove(str(folder))
        for name in ("report", "contestants", "run"):
            sys.modules.pop(name, None)
    summary = read("studies/cifar10_headline/summary-cpu.json")
    by_name, found = {}, []
    for row in read("studies/cifar10_headline/results-cpu.csv"):
        figures = {name: float(row[name]) for name in ("test_accuracy", "measured_mj")}
        by_name.setdefault(row["contestant"], {})[row["seed"]] = row | figures
    for row in read("studies/cifar10_headline/comparisons-cpu.csv"):
        found.append(row | {name: float(row[name]) for name in row if name.startswith(("points", "energy_percent"))})
    text = report.of_main(summary, found, by_name)
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()[2:]]


def headline_in_short():
    """What is compared at equal energy, parameters and FLOPs, without the intervals of the two figures."""
    for role, sizes, accuracy, energy, against in headline()[:4]:
        yield role, sizes, accuracy, energy, against.rpartition(": ")[2]


def published_table():
    def energy(of):
        ends = f" ({min(of['energies_mj']):.3f} to {max(of['energies_mj']):.3f})" if len(of["energies_mj"]) > 1 else ""
        return f"{of['energy_mj']:.3f}{ends}"

    for name, row in read("studies/true_spikingformer/results.json")["networks"].items():
        theirs, ours = row["as_published"], row["autost_form"]
        counts = f"{theirs['params']:,}", f"{theirs['macs'] / 1e9:.6f}"
        yield name.capitalize(), *counts, energy(theirs), energy(ours), f"{row['ratio']:.1f}"


def exact_spaces():
    for name, found in read("studies/exact/results.json")["spaces"].items():
        spread = found["spread"]
        low, high, mean = (f"{100 * spread[part]:+.2f}" for part in ("low", "high", "mean"))
        sizes = (f"{found[part]:,}" for part in ("architectures", "classes", "members"))
        yield (
            name,
            *sizes,
            f"{found['hypervolume']:.4f}",
            f"{low} to {high} %, mean {mean} % ({spread['samples']} samples)",
        )


def rate_tables():
    for space, rows in read("studies/tables/results.json")["spaces"].items():
        for data, row in rows.items():
            errors = (f"{row[name]:.2%}".replace("%", " %") for name in ("median", "p95", "largest"))
            seconds = f"{row['table_s']:.1f} s", f"{row['front_s']:.2f} s"
            yield space, data, row["entries"], *seconds, *errors, f"{row['kendall']:.4f}"


def exact_searches():
    for row in read("studies/exact/results.json")["searches_of_small"]:
        after = [f"{row['share_after'][count]:.3f}"[1:] for count in ("100", "300", "500", "1000")]
        yield row["seed"], *after, f"{row['trials_to_95']} trials"


def convergence(line, *between):
    """The cells that both tables of the study have, with those that only one has in between."""
    low, high = (100 * end for end in line["deviation_interval"])
    yield f"{100 * line['deviation']:.2f} % ({low:.2f} to {high:.2f})"
    yield from between[:1]
    low, high = (100 * end for end in line["deviation_of_ratios_interval"])
    yield f"{100 * line['deviation_of_ratios']:.2f} % ({low:.2f} to {high:.2f})"
    yield from between[1:]
    yield f"{line['kendall_mean']:.3f}, {line['kendall_least']:.3f}"


def convergence_by_images():
    for line in read("studies/energy_convergence/results.json")["by_images"]:
        names = ("claimed_deviation", "claimed_deviation_of_ratios")
        claimed = [f"{100 * line[name]:.1f} %" if line.get(name) else "" for name in names]
        yield line["images"], *convergence(line, *claimed, f"{100 * line['bias']:+.2f} %")


def convergence_by_seeds():
    for line in read("studies/energy_convergence/results.json")["by_seeds"]:
        yield line["seeds"], line["repetitions"], *convergence(line)


TABLES = {
    "convergence_by_images": convergence_by_images,
    "convergence_by_seeds": convergence_by_seeds,
    "samplers": sampler_table,
    "conventions": convention_table,
    "counters": counters_table,
    "families": families_table,
    "predictor": predictor_table,
    **{f"refine_{of}": partial(refine_table, of) for of in ("macro", "cifar10", "cifar100", "ImageNet16-120")},
    "without_spikes": without_spikes_table,
    "training_speed": training_table,
    "headline": headline,
    "headline_in_short": headline_in_short,
    "published": published_table,
    "exact_spaces": exact_spaces,
    "rate_tables": rate_tables,
    "exact_searches": exact_searches,
}


# --- the tests ---


def test_every_marked_figure_is_what_its_source_says():
    wrong, used, counted, comments = [], set(), {}, 0
    for page in PAGES:
        comments += without_fences(page.read_text()).count("<!--")
        for marker in markers(page.read_text()):
            name = str(page.relative_to(ROOT))
            counted[name] = counted.get(name, 0) + 1
            used.add((marker[1], marker[2]))
            try:
                check_marker(*marker)
            except (AssertionError, LookupError, ValueError, OSError) as error:
                wrong.append(f"{name}: {marker[1]}: {marker[2]}: {type(error).__name__} {error}")
    assert not wrong, "\n".join(wrong)
    assert {key for source, key in used if source == "check"} == set(FIGURES)  # what no page quotes is not computed
    assert {key for source, key in used if source == "table"} == set(TABLES)
    assert counted["README.md"] >= 10, counted
    assert sum(counted.values()) >= 120, counted
    assert sum(counted.values()) == comments  # no marker is passed over for a slip in its form


FIRST = "studies/first/results.json"


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (f"0.987<!-- {FIRST}: spearman .3f -->", None),
        (f"a ratio of 98.7<!-- {FIRST}: spearman .1% --> %", None),
        (f"117,200<!-- {FIRST}: duration_s *1000 , --> ms", None),
        (f"1.987<!-- {FIRST}: spearman .3f -->", AssertionError),
        (f"10.987<!-- {FIRST}: spearman .3f -->", AssertionError),
        (f"0.988<!-- {FIRST}: spearman .3f -->", AssertionError),
        (f"0.987 <!-- {FIRST}: spearman .3f -->", AssertionError),
        (f"0.987<!-- {FIRST}: spearmen .3f -->", KeyError),
        ("0.987<!-- studies/first/result.json: spearman .3f -->", FileNotFoundError),
        ("-2.5<!-- studies/cifar10_headline/comparisons-cpu.csv: points[role=equal energy] +.1f -->", ValueError),
        ("3<!-- check: nothing_of_the_kind d -->", KeyError),
        ("<!-- table: nothing_of_the_kind -->\n\n| a |\n| --- |\n| 1 |\n", KeyError),
        ("<!-- table: exact_searches -->\n\nno table\n", AssertionError),
        ("<!-- table: exact_searches -->\n\n| a |\n| --- |\n| 1 |\n", AssertionError),
    ],
)
def test_a_marker_that_is_wrong_is_found(text, error):
    (marker,) = markers(text)
    if error is None:
        check_marker(*marker)
    else:
        with pytest.raises(error):
            check_marker(*marker)


def test_what_study_show_says_of_other_networks_is_the_result():
    found = read("studies/proxy_validity/summary-cpu.json")
    said, epochs = found["verdicts"]["flops"], found["plan"]["cpu"]["recipe"]["epochs"]
    low, high = min(within_a_width()), max(within_a_width())
    assert f"{found['fronts']['architectures']} narrow networks" in ELSEWHERE
    assert f"after {epochs} epochs at Kendall {said}, but at {low} to {high} within one width" in ELSEWHERE


def test_no_rate_makes_a_network_in_float_cheaper_than_one_in_8_bits():
    rows = read("studies/energy_conventions/results.csv")
    in_float = [row for row in rows if row["convention"] in ("horowitz-45nm-fp32", "horowitz-45nm-fp16")]
    assert in_float
    assert all(row["break_even_rate"] == "" for row in in_float)


def test_results_are_as_good_as_what_was_aimed_for():
    sampler, energy = read("studies/bench/sampler.json"), read("studies/bench/energy.json")
    proxies = read("studies/proxy_validity/summary-cpu.json")
    problems = sampler["problems"]
    assert not any(sum(problems[problem]["ours"]["repeats"]) for problem in problems)
    least = {p: {n: v["least"] for n, v in problems[p]["ours"]["hypervolume"].items()} for p in problems}
    assert least["six_genes"]["500"] >= 0.92
    assert least["six_genes"]["1000"] >= 0.998
    assert least["per_block"]["5000"] >= 0.95
    assert sampler["ratio"] >= 8
    assert sampler["distinct_of_four_workers"] >= 0.99
    assert energy["ratio_fresh"] <= 1.3
    assert energy["ratio_reuse"] >= 3
    assert float(verdict("embed_dim")) > float(verdict("sahd")) > float(verdict("flops"))
    assert proxies["fronts"]["hypervolume_kept"] <= proxies["fronts"]["hypervolume_kept_by_as_many_at_random"]
