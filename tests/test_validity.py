"""How far proxies can be trusted: by hand, against scipy, in simulations with a known answer, and typed."""

import csv
import gzip
import itertools
import json
import math
import re
import shutil
import time
from dataclasses import replace
from pathlib import Path
from statistics import fmean

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from makers import EVIL, claim_of, packed_figures, read, store, training, uniform
from scipy import stats

from autost_optuna import Space, Task, read_table, validate
from autost_optuna.delivery.plots.figure import BLUE, GREY, ORANGE, write_figure
from autost_optuna.delivery.plots.validity import MOST, draw_validity, validity_view
from autost_optuna.evidence.verdict import Evidence, Figure
from autost_optuna.ranks import (
    agreeing,
    kendall,
    lost,
    partial,
    rank,
    reliability_of_mean,
    resamples,
    spearman,
    tied_pairs,
    within_top,
)
from autost_optuna.search import study as studies
from autost_optuna.search.describe import describe
from autost_optuna.search.presence import Presence
from autost_optuna.search.runner import run
from autost_optuna.search.settings import Plan
from autost_optuna.training.record import Dropped
from autost_optuna.training.records import open_trained
from autost_optuna.training.worth import trained_table, worth

SAMPLE = Path(__file__).parent / "validity.csv"
STUDY = Path(__file__).parent.parent / "studies" / "reference_figures"
figures = st.lists(st.integers(0, 6), min_size=2, max_size=25)


def array(*values):
    return np.array(values, float)


def once(count):
    return np.ones((1, count), np.float32)


def test_tau_and_rho_by_hand():
    # Of six pairs one is the other way round: (5 - 1) / 6, and 1 - 6 (1 + 1) / (4 (16 - 1)).
    found = rank([1, 2, 3, 4], [10, 30, 20, 40])
    assert (found.kendall, found.spearman) == (pytest.approx(4 / 6), pytest.approx(0.8))
    # Of six pairs one is tied in the first, one in the second, four in order: 4 / sqrt(5 * 5). Ranks 1.5 1.5 3 4, 1 2.5 2.5 4.
    x, y = array(1, 1, 2, 3), array(1, 2, 2, 3)
    assert kendall(x, y, once(4))[0] == pytest.approx(0.8)
    assert spearman(x, y, once(4))[0] == pytest.approx((1.5 + 0 + 0 + 2.25) / 4.5)
    assert agreeing(x, y) == 1.0
    assert tied_pairs(x) == pytest.approx(1 / 6)
    assert agreeing(array(1, 2, 3, 4), array(1, 3, 2, 4)) == pytest.approx(5 / 6)
    assert math.isnan(agreeing(array(1, 1), array(1, 2)))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_each_resample_is_what_scipy_says_of_its_rows(data):
    x = data.draw(figures)
    y, z, weights = (data.draw(st.lists(st.integers(0, 6), min_size=len(x), max_size=len(x))) for _ in range(3))
    rows = np.repeat(np.arange(len(x)), weights)
    held = np.array([weights], np.float32)
    mine = [f(array(*x), array(*y), held)[0] for f in (kendall, spearman)]
    a, b, c = (np.array(values, float)[rows] for values in (x, y, z))
    if len(set(a)) < 2 or len(set(b)) < 2:
        assert np.isnan(mine).all()
        return
    np.testing.assert_allclose(mine, [stats.kendalltau(a, b).statistic, stats.spearmanr(a, b).statistic], atol=1e-12)
    if len(set(c)) > 1:
        # What is left of the ranks when a line in the ranks of the third is taken from them.
        left = []
        for values in (a, b):
            ranks, fixed = stats.rankdata(values), stats.rankdata(c)
            left.append(ranks - np.polyval(np.polyfit(fixed, ranks, 1), fixed))
        found = partial(array(*x), array(*y), array(*z), held)[0]
        if min(np.std(part) for part in left) > 1e-6:
            np.testing.assert_allclose(found, np.corrcoef(*left)[0, 1], atol=1e-6)
        else:
            assert np.isnan(found)


def test_partial_by_hand():
    # r12 = .8, r13 = .4, r23 = .8 of the ranks below: (.8 - .32) / sqrt(.84 * .36)
    x, y, z = array(1, 2, 3, 4), array(1, 3, 2, 4), array(2, 3, 1, 4)
    r = [spearman(a, b, once(4))[0] for a, b in ((x, y), (x, z), (y, z))]
    assert r == pytest.approx([0.8, 0.4, 0.8])
    assert partial(x, y, z, once(4))[0] == pytest.approx(0.48 / math.sqrt(0.84 * 0.36))
    assert np.isnan(partial(x, y, x, once(4))[0])


@settings(max_examples=40, deadline=None)
@given(figures, st.randoms(use_true_random=False))
def test_only_order_matters(values, random):
    x = array(*values)
    y = array(*random.sample(values, len(values)))
    weights = next(resamples(len(x), 20, 0))
    for correlate in (kendall, spearman):
        found = correlate(x, y, weights)
        np.testing.assert_array_equal(correlate(np.exp(x) * 3 - 7, y**3, weights), found)
        np.testing.assert_allclose(correlate(-x, y, weights), -found, atol=1e-12)
        np.testing.assert_array_equal(correlate(y, x, weights), found)
        infinite = np.where(x == x.max(), math.inf, np.where(x == x.min(), -math.inf, x))
        if x.max() > x.min():
            np.testing.assert_array_equal(correlate(infinite, y, weights), found)


def test_the_top_holds_what_ties_with_its_last():
    accuracy = array(5, 9, 7, 7, 7, 1, 2, 3, 4, 8)
    assert within_top(accuracy, once(10), 0.1)[0].nonzero()[0].tolist() == [1]
    assert within_top(accuracy, once(10), 0.2)[0].nonzero()[0].tolist() == [1, 9]
    assert within_top(accuracy, once(10), 0.21)[0].nonzero()[0].tolist() == [1, 2, 3, 4, 9]
    # Drawn twice it takes two places; of those that were not drawn none is in.
    weights = np.array([[1, 2, 0, 1, 1, 1, 1, 1, 1, 1]], np.float32)
    assert within_top(accuracy, weights, 0.3)[0].tolist() == [0, 2, 0, 0, 0, 0, 0, 0, 0, 1]


@pytest.mark.parametrize(
    ("proxy", "most", "expected"),
    [
        ((4, 3, 2, 1), 1, 0.0),
        ((1, 2, 3, 4), 1, 4.0),
        ((1, 2, 3, 4), 3, 1.0),
        ((1, 1, 0, 0), 1, 0.5),  # one of 5 and 4
        ((0, 0, 0, 0), 2, fmean([0, 0, 0, 1, 1, 2])),
        ((0, 0, 0, 1), 2, fmean([0, 1, 2])),
        ((math.inf, 0, 0, -math.inf), 1, 0.0),
    ],
)
def test_what_is_lost_by_hand(proxy, most, expected):
    assert lost(array(*proxy), array(5, 4, 3, 1), most) == pytest.approx(expected)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 9)), min_size=2, max_size=6), st.data())
def test_what_is_lost_is_the_mean_over_all_orders_of_ties(points, data):
    most = data.draw(st.integers(1, len(points)))
    every = [sorted(order, key=lambda point: -point[0])[:most] for order in itertools.permutations(points)]
    best = max(accuracy for _, accuracy in points)
    expected = fmean(best - max(accuracy for _, accuracy in chosen) for chosen in every)
    proxy, accuracy = (array(*values) for values in zip(*points, strict=True))
    assert lost(proxy, accuracy, most) == pytest.approx(expected)
    assert most < len(points) or lost(proxy, accuracy, most) == 0


def test_resamples_are_of_all_architectures_and_of_their_seed(monkeypatch):
    whole = np.concatenate(list(resamples(30, 200, 5)))
    assert whole.shape == (200, 30)
    assert (whole.sum(axis=1) == 30).all()
    assert whole.mean() == 1
    assert np.concatenate(list(resamples(30, 200, 6))).tolist() != whole.tolist()
    monkeypatch.setattr("autost_optuna.ranks.CELLS", 30 * 64)
    parts = list(resamples(30, 200, 5))
    assert [len(part) for part in parts] == [64, 64, 64, 8]
    assert np.concatenate(parts).tolist() == whole.tolist()


def test_reliability_by_hand():
    assert reliability_of_mean(0.5, 1) == 0.5
    assert reliability_of_mean(0.5, 2) == pytest.approx(2 / 3)
    assert reliability_of_mean(0.5, 3) == pytest.approx(0.75)


def sample(**chosen):
    named = {"targets": ["accuracy"], "proxies": ["flops", "spikes", "noise"], "group": "network"}
    return read_table(SAMPLE).evidence(**{**named, **chosen})


def test_all_figures_of_the_sample_are_scipys():
    rows = {}
    with SAMPLE.open() as file:
        for row in csv.DictReader(file):
            rows.setdefault(row["network"], []).append(row)
    accuracy = np.array([fmean(float(row["accuracy"]) for row in seeds) for seeds in rows.values()])
    found = validate(sample(), samples=200)
    assert (found.architectures, found.target, found.samples, found.seed) == (45, "accuracy", 200, 0)
    assert [verdict.name for verdict in found.proxies] == ["spikes", "flops", "noise"]
    tops = {name: accuracy >= np.sort(accuracy)[-count] for name, count in (("top_tenth", 5), ("top_fifth", 9))}
    for verdict in found.proxies:
        proxy = np.array([float(seeds[0][verdict.name]) for seeds in rows.values()])
        assert verdict.kendall.value == pytest.approx(stats.kendalltau(proxy, accuracy).statistic)
        assert verdict.spearman.value == pytest.approx(stats.spearmanr(proxy, accuracy).statistic)
        assert verdict.kendall.low < verdict.kendall.value < verdict.kendall.high
        for name, kept in tops.items():
            top = getattr(verdict, name)
            assert top.architectures == kept.sum()
            assert top.kendall.value == pytest.approx(stats.kendalltau(proxy[kept], accuracy[kept]).statistic)
            assert top.spearman.value == pytest.approx(stats.spearmanr(proxy[kept], accuracy[kept]).statistic)
        order = np.argsort(-proxy, kind="stable")
        assert [one.k for one in verdict.regret] == [1, 5, 10]
        if len(set(proxy)) == len(proxy):
            for one in verdict.regret:
                assert one.lost == pytest.approx(accuracy.max() - accuracy[order[: one.k]].max())
        assert verdict.regret[0].random == pytest.approx(accuracy.max() - accuracy.mean())
    several = [[float(row["accuracy"]) for row in seeds] for seeds in rows.values() if len(seeds) > 1]
    pairs = list(itertools.combinations(zip(*several, strict=True), 2))
    between = fmean(stats.spearmanr(*pair).statistic for pair in pairs)
    assert (len(pairs), found.ceiling.architectures) == (3, 15)
    assert found.ceiling.kendall.value == pytest.approx(fmean(stats.kendalltau(*pair).statistic for pair in pairs))
    assert found.ceiling.spearman.value == pytest.approx(between)
    assert found.ceiling.seeds == pytest.approx(45 / (15 / 3 + 30))
    assert found.ceiling.most.value == pytest.approx(math.sqrt(reliability_of_mean(between, 45 / 35)))
    assert found.ceiling.most.low <= found.ceiling.most.value <= found.ceiling.most.high <= 1


def test_intervals_cover_the_truth_about_as_often_as_they_say():
    # Kendall's tau of normal figures that correlate at r is 2 / pi asin(r) (Greiner 1909).
    correlation, generator, covered = 0.6, np.random.default_rng(1), 0
    for _ in range(150):
        x = generator.normal(size=40)
        y = correlation * x + math.sqrt(1 - correlation**2) * generator.normal(size=40)
        ends = np.percentile(np.concatenate([kendall(x, y, w) for w in resamples(40, 300, 0)]), [2.5, 97.5])
        covered += ends[0] <= 2 / math.pi * math.asin(correlation) <= ends[1]
    assert 0.89 <= covered / 150 <= 0.99


def test_no_proxy_beats_the_ceiling_where_the_truth_is_known():
    generator = np.random.default_rng(2)
    truth = generator.normal(size=1500)
    seeds = truth[:, None] + generator.normal(scale=1.0, size=(1500, 3))
    evidence = Evidence(
        target="accuracy",
        accuracies=tuple(map(tuple, seeds)),
        proxies={"truth": tuple(truth)},
        labels=tuple(map(str, range(1500))),
    )
    found = validate(evidence, samples=100)
    assert found.ceiling.spearman.value == pytest.approx(6 / math.pi * math.asin(0.5 / 2), abs=0.04)
    assert found.proxies[0].spearman.value == pytest.approx(found.ceiling.most.value, abs=0.02)


def made(accuracies, labels=None, **proxies):
    seeds = tuple((value,) if isinstance(value, (int, float)) else tuple(value) for value in accuracies)
    labels = labels or tuple(map(str, range(len(seeds))))
    return Evidence(target="accuracy", accuracies=seeds, proxies=proxies, labels=labels)


def test_each_proxy_gets_a_sentence_and_what_speaks_against_it():
    accuracy = tuple(float(i) for i in range(40))
    evidence = made(
        accuracy,
        right=accuracy,
        wrong=tuple(-value for value in accuracy),
        chance=tuple(math.sin(99 * value) for value in accuracy),
        bad_at_best=tuple(value if value < 25 else 64 - value for value in accuracy),
        tied=tuple(float(value > 2) for value in accuracy),
    )
    found = {verdict.name: verdict for verdict in validate(evidence).proxies}
    assert next(iter(found)) == "right"
    assert found["right"].sentence == (
        "right puts 100 of 100 pairs in the order of accuracy: Kendall 1.00 (1.00 to 1.00), 1.00 (1.00 to 1.00) within the top "
        "fifth; training only its top 10 loses 0 of accuracy, 2.73 at random"
    )
    assert found["right"].warnings == ()
    assert found["wrong"].warnings == (
        "wrong ranks the wrong way round, Kendall -1.00 (-1.00 to -1.00): its negative is the proxy",
    )
    assert found["wrong"].regret[0].lost == 39
    (said,) = found["chance"].warnings
    interval = found["chance"].kendall.interval
    assert (
        said
        == f"chance cannot be told from chance: its interval {interval} contains 0; train more architectures to know"
    )
    assert found["bad_at_best"].warnings == (
        "bad_at_best ranks the wrong way round within the top fifth: no help in choosing among these",
    )
    assert "tied is equal in 86 of 100 pairs, of which it says nothing" in found["tied"].warnings
    assert found["right"].top_tenth is None  # of 40 only 4


def test_a_proxy_is_judged_among_networks_of_equal_parameters_too():
    widths, within = np.repeat(np.arange(8.0), 5), np.tile(np.arange(5.0), 8)
    accuracy = tuple(10 * widths + within)
    evidence = replace(
        made(
            accuracy,
            reversed_within=tuple(10 * widths - within),
            no_help_within=tuple(10 * widths + np.sin(99 * widths + 7 * within)),
        ),
        params=tuple(widths),
    )
    found = {verdict.name: verdict for verdict in validate(evidence).proxies}
    reverse, none = found["reversed_within"], found["no_help_within"]
    assert f"Spearman {reverse.fixed_params.text} at fixed parameters" in reverse.sentence
    assert (
        f"reversed_within ranks the wrong way round at fixed parameters, Spearman {reverse.fixed_params.text}"
        in reverse.warnings
    )
    assert reverse.fixed_params.high < 0
    assert not none.fixed_params.sure
    assert (
        f"no_help_within cannot be told from chance at fixed parameters, Spearman {none.fixed_params.text}"
        in none.warnings
    )


def test_few_architectures_are_said_to_be_few():
    found = validate(made((1, 2, 3, 4), flops=(1.0, 2.0, 4.0, 3.0)))
    assert found.warnings == ("intervals from 4 architectures are too narrow; train at least 20",)
    assert [one.k for one in found.proxies[0].regret] == [1]
    assert found.ceiling is None
    assert "how much of accuracy is chance is not known" in found.ceiling_sentence


def test_seeds_that_do_not_agree_leave_nothing_to_a_proxy():
    found = validate(made([(1, 4), (2, 3), (3, 2), (4, 1.5)], flops=(1.0, 2.0, 4.0, 3.0)))
    assert found.ceiling.spearman.value == -1
    assert found.ceiling.most.value == 0


def test_with_lower_the_best_are_the_least():
    evidence = sample(proxies=["flops", "spikes"])
    minus = replace(
        evidence,
        accuracies=tuple(tuple(-value for value in seeds) for seeds in evidence.accuracies),
        proxies={name: tuple(-value for value in values) for name, values in evidence.proxies.items()},
        lower=True,
    )
    one, other = validate(evidence, samples=100), validate(minus, samples=100)
    assert other.proxies == one.proxies
    assert other.ceiling == one.ceiling


def test_intervals_are_of_their_seed_and_figures_are_not():
    first, again, other = (validate(sample(), samples=100, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert first.proxies[0].kendall.value == other.proxies[0].kendall.value
    assert first.proxies[0].kendall != other.proxies[0].kendall


def test_progress_comes_to_its_end():
    heard = []
    validate(sample(), samples=100, on_done=lambda done, total: heard.append((done, total)))
    assert heard[-1][0] == heard[-1][1]
    assert heard == sorted(heard)


def test_a_figure_is_sure_where_its_interval_leaves_zero_out():
    assert Figure(value=0.5, low=0.1, high=0.9).sure
    assert not Figure(value=0.5, low=-0.1, high=0.9).sure
    assert not Figure(value=0.5, low=None, high=None).sure
    assert Figure(value=0.5, low=None, high=None).text == "0.50 (unknown)"


def test_a_notebook_shows_table_sentences_and_warnings():
    evidence = sample(proxies=["flops", "noise"])
    found = validate(evidence)
    paragraphs, rows = read(found)
    assert paragraphs[:4] == [
        "accuracy: 45 architectures",
        *(one.sentence for one in found.proxies),
        found.ceiling_sentence,
    ]
    assert [line.removeprefix("warning: ") for line in paragraphs[4:]] == [
        w for one in found.proxies for w in one.warnings
    ]
    assert rows == [found.columns, *found.cells]
    assert read(validate(replace(evidence, target=EVIL)))[0][0] == f"{EVIL}: 45 architectures"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"accuracies": ((1.0,), (2.0,)), "labels": ("a", "b")},
            "2 architectures cannot be ranked against a proxy; give at least 3",
        ),
        ({"proxies": {}}, "no proxy is named; name one at least"),
        ({"proxies": {"flops": (1.0, 2.0)}}, "'flops' has 2 values for 3 architectures"),
        ({"proxies": {"flops": (1.0, 2.0, math.nan)}}, "flops has a value that is not a number"),
        (
            {"proxies": {"flops": (2.0, 2.0, 2.0)}},
            "flops is 2 for all architectures, which ranks nothing; leave it out",
        ),
        ({"accuracies": ((1.0,), (1.0,), (1.0,))}, "accuracy is 1 for all architectures"),
        ({"accuracies": ((1.0,), (2.0,), ())}, "accuracy has a value that is not a number"),
        ({"accuracies": ((1.0,), (2.0,), (math.inf,))}, "accuracy has a value that is not a number"),
        ({"accuracies": ((1.0,), (2.0,), (0.0, -1.7e308))}, "accuracy of 2 is -1.7e+308; leave it out"),
        ({"params": (1.0, 2.0, math.nan)}, "params has a value that is not a number"),
        ({"params": (1.0, 2.0)}, "'params' has 2 values for 3 architectures"),
        ({"labels": ("a",)}, "'labels' has 1 values for 3 architectures"),
    ],
)
def test_evidence_that_cannot_be_is_refused(changes, said):
    good = made((1, 2, 3), flops=(1.0, 2.0, 3.0))
    with pytest.raises(ValueError, match=re.escape(said)):
        replace(good, **changes)


def test_numbers_that_cannot_be_are_refused():
    evidence = made((1, 2, 3), flops=(1.0, 2.0, 3.0))
    with pytest.raises(ValueError, match="99 resamples are too few"):
        validate(evidence, samples=99)
    with pytest.raises(ValueError, match="1,000,001 resamples take too long; take at most"):
        validate(evidence, samples=1_000_001)
    with pytest.raises(ValueError, match="give a seed from 0"):
        validate(evidence, seed=-1)
    with pytest.raises(ValueError, match="tops from 1"):
        validate(evidence, regrets=(0,))


def test_a_table_is_read_whatever_form_it_has(tmp_path):
    text = SAMPLE.read_text()
    expected = sample()
    (tmp_path / "a.csv").write_text("\ufeff" + text.replace("\n", "\r\n"), encoding="utf-8")
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(text.encode()))
    for name in ("a.csv", "a.csv.gz"):
        found = read_table(tmp_path / name).evidence(
            targets=["accuracy"], proxies=["flops", "spikes", "noise"], group="network"
        )
        assert found == expected
    assert expected.params is not None
    assert expected.labels[:2] == ("n00", "n01")
    assert [len(seeds) for seeds in expected.accuracies] == [3] * 15 + [1] * 30


def test_a_table_of_a_spreadsheet_with_decimal_commas_is_the_same_table(tmp_path):
    """As Excel and LibreOffice save it where decimals have commas: semicolons or tabs, a byte order mark, an empty end."""
    plain = "net,acc 1,flops,params\na b,0.91,1.5e9,384\n\u00e4,0.89,2e9,512\nc,-0.5,12,7\n"
    (tmp_path / "plain.csv").write_text(plain, encoding="utf-8")
    named = {"targets": ["acc 1"], "proxies": ["flops"], "group": "net"}
    expected = read_table(tmp_path / "plain.csv").evidence(**named)
    german = plain.replace(",", ";").replace(".", ",").replace("1,5e9", " 1,5E+09 ") + ";;;\n ; ;;\n"
    for number, content in enumerate(
        (
            german.encode(),
            german.replace("\n", "\r\n").encode("utf-8-sig"),
            ("sep=;\r\n" + german).encode("utf-16"),
            ("\ufeffsep=;\n" + german).encode(),
            german.replace(";", "\t").encode("utf-16"),
            plain.replace(",", ";").encode(),  # points are decimals as well
            plain.replace(",", ", ").replace("a b", '"a b"').encode(),
        )
    ):
        for name, packed in ((f"{number}.csv", content), (f"{number}.CSV.GZ", gzip.compress(content))):
            (tmp_path / name).write_bytes(packed)
            table = read_table(tmp_path / name)
            assert table.evidence(**named) == expected, name
            assert len(table.finite(["flops"]).rows) == 3
    only = read_table(tmp_path / "2.csv", {"acc 1": "0,89"})  # as the file has it
    assert only.places == ("line 4",)


def test_seeds_stand_in_rows_or_in_columns(tmp_path):
    (tmp_path / "rows.csv").write_text("a,acc,f\nx,1,1\nx,3,3\ny,2,5\nz,5,4\n")
    (tmp_path / "columns.csv").write_text("acc,other,f\n1,3,2\n2,2,5\n5,5,4\n")
    rows = read_table(tmp_path / "rows.csv").evidence(targets=["acc"], proxies=["f"], group="a")
    columns = read_table(tmp_path / "columns.csv").evidence(targets=["acc", "other"], proxies=["f"])
    assert rows.accuracies == ((1, 3), (2,), (5,))
    assert columns.accuracies == ((1, 3), (2, 2), (5, 5))
    assert rows.proxies == columns.proxies == {"f": (2, 5, 4)}
    assert (rows.labels, columns.labels) == (("x", "y", "z"), ("line 2", "line 3", "line 4"))
    assert (rows.target, columns.target) == ("acc", "acc/other")
    assert rows.means == columns.means == (2, 2, 5)


def test_rows_without_finite_numbers_are_left_out_where_asked(tmp_path):
    (tmp_path / "a.csv").write_text("acc,f\n1,1\n2,\n3,-inf\n4,nan\n5,6\n6,x\n")
    table = read_table(tmp_path / "a.csv")
    assert table.finite(["f"]).places == ("line 2", "line 6", "line 7")
    assert table.finite([]) == table
    with pytest.raises(ValueError, match=r"line 7: f is 'x', not a number; fix the row or leave it out$"):
        table.finite(["f"]).evidence(targets=["acc"], proxies=["f"])
    with pytest.raises(ValueError, match=r"line 3: f is empty, not a number; fix the row or leave it out \(--finite\)"):
        table.evidence(targets=["acc"], proxies=["f"])


NAMED = ["--target", "accuracy", "--proxy", "flops"]
GOOD = "accuracy,flops\n1,1\n2,2\n3,3\n"
MISTAKES = {
    "nothing": ([], None, "name either a study or --table FILE.csv"),
    "both": (["demo", "--table", "t.csv"], GOOD, "name either a study or --table FILE.csv"),
    "no file": (["--table", "none.csv", *NAMED], None, "cannot read none.csv (No such file or directory)"),
    "a folder": (["--table", "folder.csv", *NAMED], None, "cannot read folder.csv (Is a directory)"),
    "no table": (["--table", "t.xlsx", *NAMED], None, "t.xlsx is no table by its name; give .csv or .csv.gz"),
    "empty": (["--table", "t.csv", *NAMED], "", "t.csv is empty; give a table with a line of column names first"),
    "no rows": (["--table", "t.csv", *NAMED], "accuracy,flops\n", "t.csv has no rows; give at least three"),
    "two rows": (["--table", "t.csv", *NAMED], "accuracy,flops\n1,1\n2,2\n", "2 architectures cannot be ranked"),
    "no target": (
        ["--table", "t.csv", "--proxy", "flops"],
        GOOD,
        "no target is named; the columns of t.csv are accuracy, flops",
    ),
    "no proxy": (
        ["--table", "t.csv", "--target", "flops"],
        GOOD,
        "no proxy is named; the columns of t.csv are accuracy, flops",
    ),
    "unknown column": (
        ["--table", "t.csv", *NAMED, "--proxy", "naswot"],
        GOOD,
        "there is no column 'naswot'; the columns of",
    ),
    "unknown group": (["--table", "t.csv", *NAMED, "--group", "key"], GOOD, "there is no column 'key'"),
    "no architecture": (
        ["--table", "t.csv", *NAMED, "--group", "key"],
        "accuracy,flops,key\n1,1,a\n2,2,\n",
        "t.csv, line 3: key is empty; name the row's architecture there",
    ),
    "opposite ends": (
        ["--table", "t.csv", *NAMED, "--group", "key"],
        "accuracy,flops,key\n1,inf,a\n2,-inf,a\n3,1,b\n4,2,c\n",
        "flops has a value that is not a number",
    ),
    "unknown params": (["--table", "t.csv", *NAMED, "--params", "size"], GOOD, "there is no column 'size'"),
    "twice": (["--table", "t.csv", *NAMED, "--proxy", "flops"], GOOD, "proxy 'flops' is named twice; name it once"),
    "itself": (["--table", "t.csv", *NAMED, "--proxy", "accuracy"], GOOD, "'accuracy' is named as target and as proxy"),
    "no number": (["--table", "t.csv", *NAMED], GOOD + "4,many\n", "t.csv, line 5: flops is 'many', not a number"),
    "a comma": (
        ["--table", "t.csv", *NAMED],
        GOOD + '"0,5",1\n',
        "t.csv, line 5: accuracy is '0,5', not a number; write decimals with a point, and no separator of thousands",
    ),
    "comma and point": (
        ["--table", "t.csv", *NAMED],
        "accuracy;flops\n0,5;1.024\n0,6;2\n0,7;3\n",
        "line 2: flops is '1.024', not a number; other decimals here have a comma, so a point may mean thousands",
    ),
    "ANSI": (["--table", "t.csv", *NAMED], "accuracy;flops;größe\n".encode("cp1252"), "save it as CSV UTF-8"),
    "NaN": (["--table", "t.csv", *NAMED], GOOD + "nan,1\n", "t.csv, line 5: accuracy is 'nan', not a number"),
    "infinite": (["--table", "t.csv", *NAMED], GOOD + "inf,1\n", "line 5: accuracy is 'inf', not a number"),
    "empty cell": (["--table", "t.csv", *NAMED], GOOD + "1,\n", "t.csv, line 5: flops is empty, not a number"),
    "short row": (["--table", "t.csv", *NAMED], GOOD + "1\n", "t.csv, line 5 has 1 cells for 2 columns"),
    "long row": (["--table", "t.csv", *NAMED], GOOD + "1,2,3\n", "t.csv, line 5 has 3 cells for 2 columns"),
    "constant": (["--table", "t.csv", *NAMED], "accuracy,flops\n1,7\n2,7\n3,7\n", "flops is 7 for all architectures"),
    "two columns": (["--table", "t.csv", *NAMED], "a,flops,a\n1,2,3\n", "t.csv has two columns 'a'; name them apart"),
    "no text": (["--table", "t.csv", *NAMED], b"accuracy,flops\n\xff\xfe,1\n", "t.csv is no text in UTF-8"),
    "no gzip": (["--table", "t.csv.gz", *NAMED], GOOD, "t.csv.gz is no whole gzip file"),
    "half a gzip": (
        ["--table", "t.csv.gz", *NAMED],
        gzip.compress(GOOD.encode())[:-9],
        "t.csv.gz is no whole gzip file",
    ),
    "a quote": (["--table", "t.csv", *NAMED], GOOD + '"1,2\n', "t.csv is no CSV (unexpected end of data)"),
    "no value": (
        ["--table", "t.csv", *NAMED, "--where", "flops"],
        GOOD,
        "--where 'flops' has no value; write --where COLUMN=",
    ),
    "nothing so": (["--table", "t.csv", *NAMED, "--where", "flops=9"], GOOD, "none of the 3 rows of t.csv has flops=9"),
    "where twice": (
        ["--table", "t.csv", *NAMED, "--where", "flops=1", "--where", "flops=2"],
        GOOD,
        "--where names a column twice; give each column one value",
    ),
    "where what": (["--table", "t.csv", *NAMED, "--where", "data=9"], GOOD, "there is no column 'data'"),
    "all empty": (
        ["--table", "t.csv", *NAMED, "--finite"],
        "accuracy,flops\n1,\n2,\n",
        "no row of t.csv has numbers in all of",
    ),
    "recipe": (["--table", "t.csv", *NAMED, "--recipe", "short"], GOOD, "--recipe short is for a study's networks"),
    "few samples": (
        ["--table", "t.csv", *NAMED, "--samples", "10"],
        GOOD,
        "10 resamples are too few for an interval of 95 %",
    ),
    "seed": (["--table", "t.csv", *NAMED, "--seed", "-1"], GOOD, "give a seed from 0"),
    "figure": (["--table", "t.csv", *NAMED, "-o", "a.pdf"], GOOD, "a.pdf has no known ending"),
    "no study": (["demo"], None, "no storage at autost.journal"),
}


@pytest.mark.parametrize("what", MISTAKES)
def test_every_mistake_is_one_line_with_its_remedy(cli, tmp_path, what):
    arguments, text, said = MISTAKES[what]
    (tmp_path / "folder.csv").mkdir()
    if text is not None:
        name = next(word for word in arguments if word.startswith("t."))
        (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    result = cli("validate", *arguments)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1, result.stderr
    assert said in result.stderr


def test_a_huge_table_is_refused_at_once(cli, tmp_path, monkeypatch):
    (tmp_path / "line.csv.gz").write_bytes(gzip.compress(b"accuracy,flops" + b"x" * 30_000_000))
    start = time.perf_counter()
    result = cli("validate", "--table", "line.csv.gz", *NAMED)
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1), result.stderr
    assert time.perf_counter() - start < 5
    monkeypatch.setattr("autost_optuna.evidence.tabular.MOST", 2)
    (tmp_path / "t.csv").write_text(GOOD)
    result = cli("validate", "--table", "t.csv", *NAMED)
    assert "t.csv has more than 2 rows; give a sample of them" in result.stderr
    monkeypatch.setattr("autost_optuna.evidence.verdict.MOST", 2)
    with pytest.raises(ValueError, match="3 architectures take too long to resample; give at most 2"):
        made((1, 2, 3), flops=(1.0, 2.0, 3.0))


TYPED = ["validate", "--table", SAMPLE, "--target", "accuracy", "--group", "network"]
TYPED += [word for name in ("flops", "spikes", "noise") for word in ("--proxy", name)]


def test_what_is_printed_is_what_was_found(cli):
    found = validate(sample())
    table, as_json, as_csv = (cli(*TYPED, "-f", form) for form in ("table", "json", "csv"))
    for result in (table, as_json, as_csv):
        assert result.exit_code == 0, result.output
        for verdict in found.proxies:
            for said in verdict.warnings:
                assert f"warning: {said}\n" in result.stderr
    assert "contains 0" in table.stderr
    lines = table.stdout.splitlines()
    assert re.split(r" {2,}", lines[0])[:4] == ["proxy", "Kendall", "95 %", "Spearman"]
    assert [line.split()[0] for line in lines[1:4]] == [verdict.name for verdict in found.proxies]
    assert lines[4:7] == [verdict.sentence for verdict in found.proxies]
    assert lines[7] == found.ceiling_sentence
    data = json.loads(as_json.stdout)
    assert (data["target"], data["architectures"], data["samples"], data["lower"]) == ("accuracy", 45, 1000, False)
    first = found.proxies[0]
    assert data["proxies"][0]["kendall"] == {
        "value": first.kendall.value,
        "low": first.kendall.low,
        "high": first.kendall.high,
    }
    assert data["proxies"][0]["sentence"] == first.sentence
    assert data["ceiling"]["most"]["value"] == found.ceiling.most.value
    rows = list(csv.DictReader(as_csv.stdout.splitlines()))
    assert [row["proxy"] for row in rows] == [verdict.name for verdict in found.proxies]
    assert float(rows[0]["kendall_low"]) == first.kendall.low
    assert float(rows[0]["top_tenth_spearman"]) == first.top_tenth.spearman.value
    assert float(rows[0]["lost_10"]) == first.regret[-1].lost


def test_a_header_cannot_break_the_terminal(cli, tmp_path):
    (tmp_path / "t.csv").write_text("accuracy, flo\x1b[31mps\n1,1\n2,2\n3,3\n")
    result = cli("validate", "--table", "t.csv", "--target", "accuracy", "--proxy", "flo [31mps")
    assert result.exit_code == 0, result.output
    assert "\x1b" not in result.output


def test_rows_are_chosen_and_left_out(cli, tmp_path):
    rows = "".join(f"{data},{i},{i if i != 2 else ''},{i if i != 4 else 'nan'}\n" for data in "ab" for i in range(6))
    (tmp_path / "t.csv").write_text("data,accuracy,flops,params\n" + rows)
    result = cli("validate", "--table", "t.csv", *NAMED, "--where", "data=b", "--finite", "-f", "json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["architectures"] == 4
    assert "2 rows without a finite number left out" in result.stderr


def test_the_figure_is_written_beside_what_is_printed(cli, tmp_path):
    result = cli(*TYPED, "-f", "json", "-o", "out/v.html", "--theme", "dark")
    assert result.exit_code == 0, result.output
    assert "wrote out/v.html" in result.stderr
    json.loads(result.stdout)
    page = (tmp_path / "out" / "v.html").read_text()
    assert 'data-theme="dark"' in page
    drawn = packed_figures(page)["figure"]
    assert sum(len(trace["x"]) for trace in drawn["data"] if trace.get("hovertemplate")) == 3 * 45


SPACE = Space(name="toy", embed_dim=(16, 32), depth=(1, 2, 3), num_heads=(2, 4), mlp_ratio=(1, 2), uniform=True)
TASK = Task(name="digits", image_size=8, channels=1, num_classes=10, time_steps=3, pooling="0101")


@pytest.fixture(scope="module")
def journal(tmp_path_factory):
    """A search whose networks were trained: accuracy rises with FLOPs, energy is 1.1 times the predicted; one otherwise."""
    path = tmp_path_factory.mktemp("trained") / "autost.journal"
    search = studies.create("demo", str(path), Plan(space=SPACE, task=TASK, population=4))
    studies.create("new", str(path), Plan(space=SPACE, task=TASK))
    run(search, trials=10)
    members = ranked(search)
    for place, member in enumerate(members):
        for seed in range(2):
            accuracy = 0.5 + 0.02 * place + 0.001 * seed
            store(search, member, seed=seed, validation_accuracy=accuracy, energy_mj=1.1 * member.energy_mj)
    store(search, members[0], recipe_hash="f" * 12, recipe_name="long")
    return path


def ranked(search):
    distinct = {candidate.architecture.key: candidate for candidate in search.candidates()}
    return sorted(distinct.values(), key=lambda candidate: (candidate.flops, candidate.energy_mj))


@pytest.fixture
def trained(cli, journal, tmp_path):
    shutil.copy(journal, tmp_path)
    return cli, ranked(studies.open_search("demo", str(tmp_path / "autost.journal")))


def test_a_trained_study_is_validated_alike_trained_only(trained):
    cli, members = trained
    result = cli("validate", "demo", "-f", "json")
    assert result.exit_code == 0, result.output
    assert "of recipe short on digits; 1 network trained otherwise left out" in result.stderr
    data = json.loads(result.stdout)
    assert (data["target"], data["architectures"]) == ("validation_accuracy", len(members))
    named = {verdict["name"]: verdict for verdict in data["proxies"]}
    assert set(named) == {"flops", "params", "predicted_mj"}
    flops, accuracies = [member.flops for member in members], list(range(len(members)))
    assert named["flops"]["kendall"]["value"] == pytest.approx(stats.kendalltau(flops, accuracies).statistic)
    assert data["ceiling"]["seeds"] == 2
    assert data["ceiling"]["kendall"]["value"] == pytest.approx(1)
    assert "predictor" not in data
    learned = cli("validate", "demo", "--learn", "--samples", "100")
    assert learned.exit_code == 0, learned.output
    assert "learned puts " in learned.stdout
    assert f"learned from {len(members)} architectures: Kendall " in learned.stdout
    energy = cli("validate", "demo", "--target", "energy_mj", "--proxy", "predicted_mj", "--lower", "-f", "json")
    (verdict,) = json.loads(energy.stdout)["proxies"]
    assert verdict["kendall"]["value"] == pytest.approx(1)
    assert verdict["regret"][0]["lost"] == 0


def test_a_study_says_what_it_lacks(trained):
    cli, _ = trained
    for arguments, said in (
        (
            ["demo", "--recipe", "long"],
            "has 1 architecture trained alike; autost-optuna train demo --front 20 trains more",
        ),
        (["demo", "--recipe", "none"], "no networks of a recipe 'none'; it has short, long"),
        (["demo", "--where", "seed=1"], "--where seed=1 is for a table; choose trained networks by --recipe NAME"),
        (["demo", "--proxy", "naswot"], "no column 'naswot'; the columns of demo are architecture, seed"),
    ):
        result = cli("validate", *arguments)
        assert (result.exit_code, result.stdout) == (2, ""), result.output
        assert said in result.stderr
    assert "study new has no trained networks yet" in cli("validate", "new").stderr


@pytest.mark.slow
def test_what_halving_left_is_judged_with_a_warning(trained):
    cli, members = trained
    search = studies.open_search("demo", "autost.journal")
    for member in members:
        store(
            search, member, recipe_hash="a" * 12, recipe_name="fast#" + "a" * 12, validation_accuracy=member.flops / 1e9
        )
    like = training(members[0].architecture, recipe_hash="a" * 12, recipe_name="fast#" + "a" * 12, seed=5)
    trainings = open_trained(search)
    assert "dropped out" not in cli("validate", "demo", "--recipe", "fast").stderr
    with Presence(trainings.study, retires=False) as presence:
        claim_of(trainings, members[0], presence, like).drop(1, [0.1], all_epochs=2, path=Path("out"))
    for recipe in ("fast", "fast#" + "a" * 12):
        result = cli("validate", "demo", "--recipe", recipe)
        assert result.exit_code == 0, result.output
        assert "warning: 1 network of this recipe dropped out of halving, so accuracy chose those" in result.stderr
    assert "dropped out" not in cli("validate", "demo", "--recipe", "short").stderr


def test_what_flops_are_worth_is_said_of_enough_networks_with_all_warnings():
    def networks(count):
        return [
            training(uniform(16 * number, 1, 1), flops=number, validation_accuracy=number / 10)
            for number in range(1, count + 1)
        ]

    assert worth(networks(4)) is None
    assert worth([replace(one, validation_accuracy=0.5) for one in networks(6)]) is None
    found = worth(networks(6))
    assert found.kendall.value == 1
    assert "6 architectures" in found.warnings[0]
    twice = [replace(one, seed=seed) for one in networks(4) for seed in (0, 1)]
    assert worth(twice) is None  # seeds are no architectures
    out = Dropped(
        number=9,
        search_trial=9,
        key=replace(networks(1)[0].key, architecture="another"),
        recipe_name="short",
        epochs=1,
        all_epochs=2,
        validation_accuracies=(0.1,),
        path="out",
    )
    assert worth(networks(6), [out]) is None  # accuracy chose the six
    assert worth(networks(6), [replace(out, key=replace(out.key, recipe_hash="e" * 12))]) == found


def test_scores_of_a_search_are_proxies_of_what_was_trained(toy_task):
    architectures = [uniform(16 * number, 1, 1) for number in (1, 2, 3)]
    trainings = [
        training(one, validation_accuracy=one.embed_dim / 100, flops=place, params=place, predicted_mj=place)
        for place, one in enumerate(architectures, 1)
    ]
    scored = [replace(describe(one, toy_task).candidate, scores=(("sahd", -one.embed_dim),)) for one in architectures]
    evidence = trained_table("s", trainings, scored).evidence()
    assert evidence.proxies["sahd"] == (-16, -32, -48)
    assert "sahd" not in trained_table("s", trainings).names


def test_a_view_has_a_panel_for_each_proxy_best_first():
    evidence = sample()
    view = validity_view(evidence, validate(evidence, samples=100))
    assert [panel.name for panel in view.panels] == ["spikes", "flops", "noise"]
    assert view.title == "accuracy: 3 proxies against 45 trained architectures"
    assert [panel.logarithmic for panel in view.panels] == [True, True, False]
    for panel in view.panels:
        assert len(panel.points) == 45
        assert [sum(point.band >= band for point in panel.points) for band in (2, 1, 0)] == [5, 9, 45]
        best = max(panel.points, key=lambda point: point.accuracy)
        assert (best.accuracy_rank, best.band) == (1.0, 2)
        assert min(point.proxy_rank for point in panel.points) >= 0
        assert fmean(point.proxy_rank for point in panel.points) == pytest.approx(0.5)


def test_strips_have_the_colours_of_the_other_rank():
    evidence = made((1, 2, 3, 4, 5), flops=(1.0, 2.0, 5.0, 3.0, math.inf), labels=("<b>", *"bcde"))
    figure = draw_validity(validity_view(evidence, validate(evidence)))
    bands = [trace for trace in figure.data if trace.hovertemplate]
    assert [trace.marker.color for trace in bands] == [GREY, BLUE, ORANGE]
    assert sorted(x for trace in bands for x in trace.x) == [1, 2, 3, 5]
    assert sorted(row[0] for trace in bands for row in trace.customdata)[0] == "&lt;b&gt;"
    upper, side = (trace for trace in figure.data if not trace.hovertemplate)
    assert dict(zip(upper.x, upper.marker.color, strict=True)) == {1: 0, 2: 25, 5: 50, 3: 75}
    assert dict(zip(side.y, side.marker.color, strict=True)) == {1: 0, 2: 25, 3: 75, 4: 50}
    assert (upper.xaxis, side.yaxis) == (bands[0].xaxis, bands[0].yaxis)
    assert "(1 infinite)" in figure.layout.annotations[0].text


def test_all_infinite_values_are_counted_and_not_only_those_drawn():
    values = tuple(float(i) for i in range(1, 2 * MOST))
    evidence = made(values, flops=tuple(math.inf if i % 100 == 1 else value for i, value in enumerate(values)))
    (panel,) = validity_view(evidence, validate(evidence, samples=100)).panels
    assert panel.infinite == sum(map(math.isinf, evidence.proxies["flops"])) == 30


@pytest.mark.parametrize("span", [1.4, 2, 3, 20, 580])
def test_ticks_are_few_and_lie_on_the_axis(span):
    values = tuple(10.0 ** (span * i / 29 - span / 2) for i in range(30))
    evidence = made(tuple(range(30)), flops=values)
    axis = draw_validity(validity_view(evidence, validate(evidence, samples=100))).layout.xaxis
    assert axis.type == "log"
    assert 2 <= len(axis.tickvals) == len(axis.ticktext) <= 7
    assert all(values[0] <= tick <= values[-1] for tick in axis.tickvals)


def test_with_lower_the_least_are_marked():
    evidence = replace(made(tuple(range(1, 21)), energy=tuple(float(i) for i in range(1, 21))), lower=True)
    (panel,) = validity_view(evidence, validate(evidence)).panels
    assert {point.accuracy for point in panel.points if point.band == 2} == {1, 2}
    assert {point.accuracy_rank for point in panel.points if point.accuracy == 1} == {1.0}


def test_of_many_points_some_are_drawn_and_the_legend_says_so(tmp_path):
    number = 3 * MOST + 1
    values = tuple(float(i) for i in range(number))
    evidence = made(values[:number], flops=values[::-1], spikes=values)
    evidence = replace(evidence, accuracies=tuple((value,) for value in values))
    view = validity_view(
        replace(evidence), validate(small := made(values[:30], flops=values[:30], spikes=values[29::-1]))
    )
    assert small.means == values[:30]
    (drawn,) = {len(panel.points) for panel in view.panels}
    assert drawn <= MOST
    assert view.subtitle.endswith(f"; {drawn:,} drawn")
    assert number - 1 in {point.accuracy for point in view.panels[0].points}
    figure = draw_validity(view)
    assert figure.data[0].name == "the rest"
    write_figure(figure, tmp_path / "a.html")
    assert (tmp_path / "a.html").stat().st_size < 3_000_000


@pytest.mark.parametrize("count", [1, 2, 3, 5, 10])
def test_panels_do_not_overlap(count):
    values = tuple(float(i) for i in range(6))
    evidence = made(values, **{f"p{i}": values[i % 5 :] + values[: i % 5] for i in range(count)})
    figure = draw_validity(validity_view(evidence, validate(evidence, samples=100)))
    layout = figure.layout.to_plotly_json()
    boxes = []
    for place in range(count):
        x, y = (f"{letter}axis{2 * place + 1 if place else ''}" for letter in "xy")
        side, upper = f"xaxis{2 * place + 2}", f"yaxis{2 * place + 2}"
        assert layout[x]["domain"][1] < layout[side]["domain"][0]
        assert layout[y]["domain"][1] < layout[upper]["domain"][0]
        boxes.append(
            (layout[x]["domain"][0], layout[side]["domain"][1], layout[y]["domain"][0], layout[upper]["domain"][1])
        )
    for one, other in itertools.combinations(boxes, 2):
        apart = one[1] < other[0] or other[1] < one[0] or one[3] < other[2] or other[3] < one[2]
        assert apart
    assert all(-1e-9 <= end <= 1 + 1e-9 for box in boxes for end in box)


def test_the_study_of_published_tables_agrees_and_says_what_it_found():
    results = json.loads((STUDY / "results.json").read_text())
    text = (STUDY / "README.md").read_text()
    assert results["agree"]
    assert not results["uncommitted_changes_to_code"]
    assert len(results["compared"]) == 12
    for line in results["compared"]:
        assert round(line["found"], 2) == round(line["known"], 2)
        assert f"| {line['table']} | {line['figure']} |" in text
    rows = list(csv.DictReader((STUDY / "verdicts.csv").read_text().splitlines()))

    def column(proxy, name, tables="NAS-Bench-201"):
        return [float(row[name]) for row in rows if row["proxy"] == proxy and row["table"].startswith(tables)]

    assert all(
        low < 0 < high
        for low, high in zip(*(column("nwot", f"top_tenth_kendall_{end}") for end in ("low", "high")), strict=True)
    )
    assert all(
        one > other for one, other in zip(column("params", "spearman"), column("flops", "spearman"), strict=True)
    )
    for proxy in ("snip", "grad_norm", "grasp", "fisher"):
        assert column(proxy, "top_tenth_kendall_high", "NAS-Bench-201, cifar10")[0] < 0
