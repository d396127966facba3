import dataclasses
import html
import math
import os
import random
import re
import shutil
import stat
import subprocess

import pytest
from makers import candidate, listed, packed_figures, training
from scipy.spatial import ConvexHull

from autost_optuna import Architecture, Task, units
from autost_optuna.cli.run import evidence_line
from autost_optuna.delivery.plots.audit import audit_view, draw_audit
from autost_optuna.delivery.plots.convergence import convergence_view, draw_convergence
from autost_optuna.delivery.plots.figure import (
    BLUE,
    DIM,
    GREEN,
    INK,
    ORANGE,
    PURPLE,
    SKY,
    in_theme,
    replacing,
    wrapped,
    write_figure,
)
from autost_optuna.delivery.plots.front import Overlay, draw_front, front_view
from autost_optuna.delivery.plots.genes import draw_genes, genes_view
from autost_optuna.delivery.plots.points import export_command, hover, hull, thin
from autost_optuna.delivery.plots.stages import draw_stages, stages_view
from autost_optuna.delivery.plots.trained import draw_measured, draw_trained, trained_view
from autost_optuna.front.convergence import Course, StopRule
from autost_optuna.front.front import Box, nondominated
from autost_optuna.front.picks import Pick, knee, knee_of, picks_of
from autost_optuna.proxies.convention import CONVENTIONS
from autost_optuna.proxies.energy import Charge
from autost_optuna.search.baselines import NETWORKS, Baseline, in_autost_form
from autost_optuna.search.bills import Bill
from autost_optuna.search.describe import describe
from autost_optuna.search.exact import ExactFront, Member

SEARCH = [(10, 1.0), (30, 2.0), (20, 3.0), (90, 40.0), (100, 100.0)]


def test_view_parts_front_dominated_and_knee():
    view = front_view("demo", [*listed(SEARCH), candidate(500, 0.01, 9, silent=True)])
    assert [c.number for c in view.members] == [0, 1, 3, 4]
    assert [c.number for c in view.dominated] == [2]
    assert view.knee.number == 1
    assert view.title == "demo: the knee gives 30 FLOPs for 2.00 mJ per image (trial 1, C 16, depth 1)"
    assert view.subtitle.startswith("4 members of the front among 5 architectures; ")


def test_figure_shows_the_view_on_log_axes_with_units():
    figure = draw_front(front_view("demo", listed(SEARCH)))
    dominated, front, knee = figure.data[:3]
    assert list(front.x) == [1.0, 2.0, 40.0, 100.0]
    assert list(front.y) == [10e-9, 30e-9, 90e-9, 100e-9]
    assert front.line.shape == "hv"  # between two members, the cheaper one is the best there is
    assert list(dominated.x) == [3.0]
    assert list(knee.x) == [2.0]
    assert figure.layout.xaxis.type == figure.layout.yaxis.type == "log"
    assert "mJ" in figure.layout.xaxis.title.text
    assert "GFLOPs" in figure.layout.yaxis.title.text
    assert knee.customdata[0] == [
        "1",
        "C 16, depth 1, heads 1, ratio 1",
        "2.00 mJ to 2.00 mJ",
        "0.00000100 M parameters",
    ]
    assert knee.hovertemplate == (
        "<b>trial %{customdata[0]}</b>: %{customdata[1]}<br>%{x:.4g} mJ (%{customdata[2]}), %{y:.4g} GFLOPs, "
        "%{customdata[3]}<br>"
        "autost-optuna export demo --trial %{customdata[0]} -o trial-%{customdata[0]}<extra></extra>"
    )


OWN = Architecture.from_text("C=96,depth=2,heads=4/8,ratio=4")


def baseline(name, flops, energy_mj, architecture=OWN):
    return Baseline(name=name, architecture=architecture, params=5_000_000, macs=flops // 2, energy_mj=energy_mj)


EXACT = ExactFront(
    members=tuple(Member(architecture=OWN, params=7, flops=f, energy_mj=e) for f, e in ((12, 0.9), (95, 30.0))),
    classes=825,
    evaluated=900,
    hypervolume=0.5,
    best_hypervolume=0.5,
    spread=None,
    duration_s=1.0,
)


def test_baselines_stand_beside_the_search_and_are_not_counted():
    family = [
        baseline(f"{name}-4-384", 28, 4.0, in_autost_form(NETWORKS[f"{name}-4-384"].architecture)) for name in FAMILY
    ]
    view = front_view("demo", listed(SEARCH), Overlay(baselines=[*family, baseline("<b>mine", 200, 50.0)]))
    bare = front_view("demo", listed(SEARCH))
    assert (view.title, view.members, view.dominated, view.knee) == (
        bare.title, bare.members, bare.dominated, bare.knee
    )  # fmt: skip
    assert [mark.names for mark in view.baselines] == [("AutoST form, 384 \u00d7 4",), ("<b>mine",)]
    assert [mark.sizes_of for mark in view.baselines] == ["spikformer-4-384, spikingformer-4-384", ""]
    assert "dominated by 1 member: e.g. trial 1" in "".join(view.baselines[0].lines)
    figure = draw_front(view)
    said = "baselines (published networks: others, several times cheaper)"
    (points,) = [trace for trace in figure.data if trace.name == said]
    assert (points.mode, set(points.marker.symbol)) == ("markers", {"diamond"})
    assert list(points.x) == [4.0, 50.0]
    assert list(points.y) == [28e-9, 200e-9]
    assert {"AutoST form, 384 \u00d7 4", "&lt;b&gt;mine"} <= set(words(figure))
    seen = points.customdata[0].replace("<br>", " ")
    assert (
        "sizes of spikformer-4-384, spikingformer-4-384. The published networks are other ones and cost several" in seen
    )
    assert "95." not in seen  # a published accuracy
    assert "non-dominated" in points.customdata[1]
    alone = draw_front(front_view("demo", listed(SEARCH), Overlay(baselines=[baseline("mine", 200, 50.0)])))
    assert "baselines" in [trace.name for trace in alone.data]


FAMILY = ("spikformer", "spikingformer")


def words(figure):
    """The labels in a figure, with the points that they name."""
    named = [trace for trace in figure.data if trace.mode == "markers+text" and trace.name == ""]
    return {text: (x, y) for trace in named for text, x, y in zip(trace.text, trace.x, trace.y, strict=True)}


def test_the_exact_front_lies_behind_the_searched_one():
    view = front_view("demo", listed(SEARCH), Overlay(exact=EXACT))
    figure = draw_front(view)
    assert [trace.name for trace in figure.data if trace.name] == [
        "dominated", "exact front (825 classes)", "Pareto front", "knee"
    ]  # fmt: skip
    exact, front = figure.data[1:3]
    assert (list(exact.x), list(exact.y)) == ([0.9, 30.0], [12e-9, 95e-9])
    assert exact.line.dash
    assert exact.line.width < front.line.width
    assert exact.line.shape == "hv"
    assert "heads 4/8" in exact.customdata[0]


def test_picks_are_ringed():
    members = listed(SEARCH)
    figure = draw_front(front_view("demo", members, Overlay(picks=[members[1], members[3]])))
    (rings,) = [trace for trace in figure.data if trace.name == "2 picks"]
    assert rings.marker.symbol == "circle-open"
    assert list(rings.x) == [2.0, 40.0]


def test_the_colours_can_be_told_apart():
    # Okabe and Ito 2008, and a grey and an ink that differ in lightness.
    assert {BLUE, ORANGE, GREEN, PURPLE} <= {"#0072b2", "#d55e00", "#009e73", "#cc79a7"}
    kinds = draw_front(
        front_view(
            "demo", listed(SEARCH), Overlay(exact=EXACT, picks=listed(SEARCH)[:1], baselines=[baseline("a", 9, 9.0)])
        )
    ).data
    kinds = [trace for trace in kinds if trace.name]
    assert len({trace.name for trace in kinds}) == len(kinds) == 6
    dots = [trace.marker for trace in kinds if "markers" in trace.mode]
    assert len({(str(dot.symbol), dot.color) for dot in dots}) == len(dots)


def test_quantised_points_stand_beside_their_members():
    figure = draw_front(front_view("demo", listed(SEARCH), Overlay(quantised=True)))
    (points,) = [trace for trace in figure.data if trace.name == "without spikes, 8 bits"]
    assert list(points.x) == [0.5, 1.0, 20.0, 50.0]
    assert list(points.y) == list(figure.data[1].y)
    assert points.hovertemplate.startswith("<b>without spikes, one pass of 8-bit MACs</b><br>")
    assert len(draw_front(front_view("demo", listed(SEARCH))).data) == len(figure.data) - 2


@pytest.mark.parametrize("convention", ["horowitz-45nm-fp32", "memory"])
def test_the_audit_is_drawn_whole_by_stage(convention):
    description = describe(
        Architecture.from_text("C=32,depth=2,heads=4,ratio=2"),
        Task.preset("digits"),
        convention=CONVENTIONS[convention],
    )
    view = audit_view(description)
    assert view.stages == ("stem", "block 0", "block 1", "head")
    assert math.fsum(s.energy_mj for s in view.segments) == pytest.approx(description.candidate.energy_mj, rel=1e-12)
    assert sum(len(s.lines) for s in view.segments) == len(description.charges)
    assert {s.group for s in view.segments if s.real} == {"convolutions", "position convolution", "head"}
    assert ("neuron states" in {s.group for s in view.segments}) == (convention == "memory")
    figure = draw_audit(view)
    assert figure.layout.barmode == "stack"
    left, right = ([bar for bar in figure.data if (bar.xaxis or "x") == axis] for axis in ("x", "x2"))
    drawn = math.fsum(x for bar in left for x in bar.x)
    assert drawn == pytest.approx(description.candidate.energy_mj, rel=1e-12)
    for stage in ("stem", "block 0", "block 1", "head"):
        shares = [x for bar in right for y, x in zip(bar.y, bar.x, strict=True) if y == stage]
        assert math.fsum(shares) == pytest.approx(100)
    spent = {stage: math.fsum(s.energy_mj for s in view.segments if s.stage == stage) for stage in view.stages}
    said = {mark.y: mark.text for mark in figure.layout.annotations}
    assert said == {stage: f"{units.energy(mj)}, {mj / drawn:.1%}" for stage, mj in spent.items()}
    assert figure.layout.xaxis.range[1] > 1.5 * max(spent.values())  # the figures after the longest bar fit in
    written = [text for bar in right for text in bar.text]
    assert any(text.startswith("MLP ") and text.endswith("%") for text in written)
    assert any(text.startswith("position convolution ") for text in written)
    assert all(not text or text.endswith("%") for text in written)
    dearest = max(spent, key=lambda stage: spent[stage])
    assert f"{spent[dearest] / drawn:.0%} of it in the {dearest}" in figure.layout.title.text
    assert convention in figure.layout.title.subtitle.text
    assert "mJ" in figure.layout.xaxis.title.text


def trained(index, predicted_mj, energy_mj, accuracy, **changes):
    return training(
        candidate(10, 1.0, index).architecture,
        predicted_mj=predicted_mj,
        energy_mj=energy_mj,
        validation_accuracy=accuracy,
        flops=int(10e9),
        **changes,
    )


TRAINED = [
    trained(0, 1.0, 2.0, 0.5),
    trained(0, 1.0, 4.0, 0.7, seed=1),
    trained(1, 2.0, 2.5, 0.4),
    trained(3, 40.0, 50.0, 0.8, recipe_name="long", recipe_hash="f"),
    trained(8, 3.0, 60.0, 0.2, recipe_name="long", recipe_hash="f"),
]


def test_a_trained_view_has_both_fronts():
    view = trained_view("demo", listed(SEARCH), TRAINED)
    assert [c.number for c in view.members] == [0, 1, 3, 4]
    assert [c.number for c in view.dominated] == [2]
    assert [p.label for p in view.points] == ["0", "1", "?", "3"]  # one was of a search that is no more
    assert [p.label for p in view.measured] == ["1", "0", "3"]
    assert view.points[0].energy_mj.mean == 3.0
    assert view.points[0].accuracy.deviation == pytest.approx(0.2 / 2**0.5)
    assert "measured 3.00 mJ (3.00 times)" in "".join(view.points[0].lines)
    assert view.title == (
        "demo: trial 3 reaches 80.0 % for 50.0 mJ per image; measured energy is 1.25 to 20.00 times the predicted"
    )
    assert view.subtitle.startswith("5 trained networks of 4 architectures; ")
    assert "held-out images of digits" in view.subtitle
    with pytest.raises(ValueError, match="no trained networks yet"):
        trained_view("demo", listed(SEARCH), [])


def test_a_line_leads_from_each_prediction_to_its_measurement():
    figure = draw_trained(trained_view("demo", listed(SEARCH), TRAINED))
    found = {(trace.name, trace.yaxis): trace for trace in figure.data}
    ties = found["from prediction to measurement", "y"]
    assert list(ties.x) == [1.0, 3.0, None, 2.0, 2.5, None, 3.0, 60.0, None, 40.0, 50.0, None]
    assert list(ties.y) == [10.0, 10.0, None] * 4
    assert list(found["predicted (number of its trial)", "y"].text) == ["0", "1", "?", "3"]
    assert list(found["measured: short on digits", "y"].x) == [3.0, 2.5]
    below, other = (found[f"measured: {recipe} on digits", "y2"] for recipe in ("short", "long"))
    assert (list(below.x), list(below.y)) == ([3.0, 2.5], pytest.approx([60.0, 40.0]))
    assert list(below.error_y.array) == pytest.approx([20 / 2**0.5, 0])
    assert below.error_y.visible
    assert not other.error_y.visible
    assert below.marker.symbol != other.marker.symbol
    front = found["Pareto front as measured", "y2"]
    assert list(front.x) == [2.5, 3.0, None, 50.0, None]  # a line for each recipe
    assert [y for y in front.y if y is not None] == pytest.approx([40.0, 60.0, 80.0])
    assert front.line.shape == "hv"
    assert figure.layout.xaxis.matches == "x2"
    assert figure.layout.xaxis.type == figure.layout.xaxis2.type == "log"
    assert "mJ" in figure.layout.xaxis2.title.text
    assert "validation accuracy" in figure.layout.yaxis2.title.text
    # Energies from 1, predicted, to 100 mJ, the dearest of the search.
    assert list(figure.layout.xaxis.tickvals) == [1, 2, 5, 10, 20, 50, 100]


def test_the_measured_panel_alone_has_all_points_and_ticks():
    view = trained_view("demo", listed(SEARCH), TRAINED)
    figure = draw_measured(view)
    found = {trace.name: trace for trace in figure.data}
    assert [list(found[f"measured: {recipe} on digits"].x) for recipe in ("short", "long")] == [
        [3.0, 2.5],
        [60.0, 50.0],
    ]
    assert figure.layout.height is None  # it fits where it is put
    low, high = (10**end for end in figure.layout.xaxis.range)
    assert low < 2.5
    assert high > 60
    assert sum(low <= tick <= high for tick in figure.layout.xaxis.tickvals) >= 3
    alike = draw_measured(trained_view("demo", listed(SEARCH), TRAINED[:1]))
    assert (
        sum(
            10 ** alike.layout.xaxis.range[0] <= t <= 10 ** alike.layout.xaxis.range[1]
            for t in alike.layout.xaxis.tickvals
        )
        >= 3
    )


def test_members_that_were_predicted_alike_share_their_text():
    alike = [trained(0, 1.0, 2.0, 0.5), trained(1, 1.0, 2.5, 0.4)]
    figure = draw_trained(trained_view("demo", listed(SEARCH), alike))
    (predicted,) = [trace for trace in figure.data if trace.name == "predicted (number of its trial)"]
    assert list(predicted.text) == ["0, 1", ""]


def test_a_name_stays_text():
    title = draw_front(front_view("<b>&", listed(SEARCH))).layout.title.text
    assert title.startswith("&lt;b&gt;&amp;")


def test_an_architecture_is_one_readable_line():
    assert OWN.in_words() == "C 96, depth 2, heads 4/8, ratio 4"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("demo", "autost-optuna export demo --trial 7 -o trial-7"),
        ("my study", "autost-optuna export 'my study' --trial 7 -o trial-7"),
        ("<b>$(rm)", "autost-optuna export '<b>$(rm)' --trial 7 -o trial-7"),
        ("NUMBER", "autost-optuna export NUMBER --trial 7 -o trial-7"),
    ],
)
def test_a_pointer_sees_the_command_that_exports_a_trial(name, said):
    assert export_command(name, 7) == said
    shown = hover(name).replace("%{customdata[0]}", "7").replace("&lt;", "<").replace("&gt;", ">")
    assert shown.endswith(f"<br>{said}<extra></extra>")


def test_a_name_is_no_template():
    assert "%{x}" not in hover("%{x}")
    assert "&#37;{x}" in hover("%{x}")
    assert "<script>" not in hover("<script>alert(1)</script>")


def test_the_hull_of_a_square_is_its_corners():
    assert set(hull([(0, 0), (0, 1), (0.5, 0.5), (1, 0), (1, 1)])) == {0, 1, 3, 4}
    generator = random.Random(0)
    cloud = sorted((generator.random(), generator.random()) for _ in range(300))
    assert set(hull(cloud)) == set(ConvexHull(cloud).vertices.tolist())
    assert set(hull([(0.0, 0.0)])) == {0}
    assert set(hull([(0, 0), (1, 1), (2, 2)])) == {0, 2}


def cloud(count):
    """Candidates of which few are on the front, each with an architecture of its own, as deep as the deepest of base."""
    generator = random.Random(0)
    found = []
    for number in range(count):
        flops = round(1e9 * (1 + number / 1000))
        made = candidate(flops, flops / 1e9 * (1 + generator.random()), number)
        heads, ratios = ([generator.choice(choices) for _ in range(15)] for choices in ((4, 8), (3, 4, 5, 6)))
        architecture = Architecture(embed_dim=768, depth=15, num_heads=tuple(heads), mlp_ratio=tuple(ratios))
        found.append(dataclasses.replace(made, architecture=architecture))
    return found


def test_a_cloud_is_thinned_the_same_way_and_keeps_its_outline():
    points = cloud(3000)
    few = thin(points, 200)
    assert len(few) == 200
    assert set(few) <= set(points)
    assert thin(list(reversed(points)), 200) == few
    for figure in ("energy_mj", "flops"):
        values = [getattr(one, figure) for one in points]
        ends = {getattr(one, figure) for one in few}
        assert {min(values), max(values)} <= ends
    assert thin(points[:200], 200) == tuple(points[:200])


@pytest.mark.slow
def test_twenty_thousand_candidates_are_a_page_below_three_megabytes(tmp_path):
    points = cloud(19_000)
    view = front_view("demo", points)
    members = nondominated(points)
    assert view.members == tuple(members)
    assert view.all_dominated == 19_000 - len(members)
    assert "among 19,000 architectures" in view.subtitle
    figure = draw_front(view)
    assert len(view.dominated) == 5000
    assert figure.data[0].name.startswith(f"dominated (5,000 of {view.all_dominated:,} shown)")
    write_figure(figure, tmp_path / "a.html")
    assert (tmp_path / "a.html").stat().st_size < 3_000_000


def test_dark_colours_take_the_place_of_light_ones_and_no_text_is_touched():
    marks = [baseline("white", 28, 4.0)]
    light = draw_front(front_view("white", listed(SEARCH), Overlay(baselines=marks)))
    dark = in_theme(light, "dark")
    assert (light.data[1].line.color, dark.data[1].line.color) == (BLUE, SKY)
    assert (light.layout.template.layout.paper_bgcolor, dark.layout.template.layout.paper_bgcolor) == (
        "white",
        DIM["white"],
    )
    assert "white" in words(dark)
    assert list(dark.data[0].x) == list(light.data[0].x)
    assert in_theme(light, "auto") is in_theme(light, "light") is light
    inks, left = (
        {found.lower() for found in re.findall(r'color": ?"(#?\w+)"', figure.to_json())} for figure in (light, dark)
    )
    assert INK in inks
    assert DIM[INK] in left
    assert not left & set(DIM) - set(DIM.values())


def luminance(colour):
    """Relative luminance, WCAG 2.2."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_lines_and_words_stand_out_on_both_papers():
    papers = {"light": "#ffffff", "dark": DIM["white"]}
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    for colour, least in ((INK, 7), ("#2a3f5f", 7), (BLUE, 3), (ORANGE, 3), (GREEN, 3)):  # WCAG: text 4.5, graphics 3
        assert contrast(colour, papers["light"]) >= least
        assert contrast(DIM.get(colour, colour), papers["dark"]) >= least


def test_a_page_is_complete_and_holds_what_is_drawn(tmp_path):
    figure = draw_front(front_view("</script><b>", listed(SEARCH)))
    write_figure(figure, tmp_path / "a.html", "dark")
    page = (tmp_path / "a.html").read_text()
    assert '<html lang="en" data-theme="dark">' in page
    assert not re.search(r"<(script|link|img)[^>]*(src|href)=", page)
    assert page.count("</script>") == page.count("<script") == 3
    assert "<h1>&lt;/script&gt;&lt;b&gt;: the knee gives" in page
    assert [trace["name"] for trace in packed_figures(page)["figure"]["data"]] == [trace.name for trace in figure.data]
    assert [["data", 1, "line", "color"], SKY] in packed_figures(page)["figure"]["dim"]
    assert packed_figures(page)["figure"]["layout"]["margin"]["t"] >= 30  # plotly's buttons cover no mark


def test_json_is_plotlys(tmp_path):
    import plotly.io

    figure = draw_front(front_view("demo", listed(SEARCH)))
    write_figure(figure, tmp_path / "a.json")
    assert plotly.io.read_json(tmp_path / "a.json") == figure
    write_figure(figure, tmp_path / "b.json", "dark")
    assert plotly.io.read_json(tmp_path / "b.json").data[1].line.color == SKY


def test_two_that_write_one_file_do_not_mix_and_its_permissions_are_the_usual_ones(tmp_path):
    target = tmp_path / "a.html"
    before = os.umask(0o027)
    try:
        with replacing(target) as one, replacing(target) as other:
            one.write_text("one")
            other.write_text("other")
            assert one.read_text() == "one"
            assert not target.exists()
        assert target.read_text() == "one"  # the inner one is put in place first
        assert stat.S_IMODE(target.stat().st_mode) == 0o640
    finally:
        os.umask(before)
    with pytest.raises(UnicodeEncodeError), replacing(target) as part:
        part.write_text("half\ud800", encoding="utf-8")
    assert target.read_text() == "one"
    assert list(tmp_path.iterdir()) == [target]


BOX = Box(worst_flops=1, worst_energy_mj=100.0, best_flops=100, best_energy_mj=1.0)


def test_the_hypervolume_rises_by_steps_below_the_exact_fronts():
    # Scaled to (.5, .5), then nothing, then (1, 1): a quarter of the box, the same, all of it.
    found = [candidate(10, 10.0), None, candidate(100, 1.0, 1), candidate(100, 1.0, 2)]
    view = convergence_view("demo", Course(BOX, found), dataclasses.replace(EXACT, hypervolume=1.25))
    assert view.trials == (1, 3, 4)  # what changed, and the last
    assert view.hypervolumes == pytest.approx((0.25, 1.0, 1.0))
    assert view.title == "demo: hypervolume 1.0000 after 4 trials, 80.0% of the exact front's"
    search, exact = draw_convergence(view).data
    assert search.line.shape == "hv"
    assert list(exact.y) == [1.25, 1.25]
    alone = convergence_view("demo", Course(BOX, found))
    assert len(draw_convergence(alone).data) == 1
    assert "exact" not in alone.title
    with pytest.raises(ValueError, match=r"no finished trial yet; run autost-optuna study run 'my s' --trials 100"):
        convergence_view("my s", Course(BOX))


def test_convergence_is_said_with_its_evidence():
    still = Course(BOX, [candidate(10, 10.0), *[None] * 300])
    assert convergence_view("demo", still).subtitle.startswith(
        "converged: hypervolume 0.2500 rose by 0 % over the last 200 of 301"
    )
    late = Course(BOX, [candidate(10, 10.0), *[None] * 150, candidate(100, 1.0, 1), *[None] * 150])
    assert convergence_view("demo", late).subtitle.startswith("not converged: hypervolume 1.0000 rose by 75 % over")
    for trials, said in (
        (200, "200 trials, and the rule looks back over 200"),
        (201, "no candidate of 201 trials is inside the space's box"),
    ):
        course = Course(BOX, [None] * trials)
        assert convergence_view("demo", course).subtitle == f"not converged: {said}"
        assert evidence_line(course.evidence(StopRule()), BOX) == f"not converged: {said}"
    assert evidence_line(late.evidence(StopRule()), BOX) == (
        f"{convergence_view('demo', late).subtitle}, logarithmic axes, reference point 1 FLOPs, 100 mJ"
    )


def test_genes_have_an_axis_each_and_members_come_last():
    view = genes_view("demo", listed(SEARCH))
    assert view.on_front == (False, True, True, True, True)
    assert [axis.label for axis in view.axes] == ["C", "depth", "heads", "ratio", "mJ", "GFLOPs"]
    assert view.axes[0].values == (24, 8, 16, 32, 40)
    (lines,) = draw_genes(view).data
    assert list(lines.line.color) == [0, 1, 1, 1, 1]
    assert list(lines.dimensions[4]["values"]) == pytest.approx([math.log10(v) for v in (3.0, 1.0, 2.0, 40.0, 100.0)])
    assert lines.dimensions[4]["ticktext"][0] == "1"
    assert lines.dimensions[4]["tickvals"][0] == 0.0
    assert list(lines.dimensions[0]["ticktext"]) == ["8", "16", "24", "32", "40"]
    many = genes_view("demo", cloud(3000))
    assert many.on_front.count(False) == 1500
    assert f"grey: dominated (1,500 of {3000 - sum(many.on_front):,} shown)" in many.subtitle
    with pytest.raises(ValueError, match="no candidate yet; run autost-optuna study run 'my s' --trials 100"):
        genes_view("my s", [])


def test_choices_per_network_have_an_axis_of_words():
    texts = (
        "C=32,depth=2,heads=2,ratio=2",
        "C=32,depth=2,mixer=qkta/ssa,heads=2,ratio=2,neuron=lif,stem=qkformer,residual=spike,depths=1/1",
        "C=32,depth=2,heads=2,ratio=2,neuron=ilif(levels=2),stem=sdt,T=1",
    )
    drawn = [
        dataclasses.replace(one, architecture=Architecture.from_text(text))
        for one, text in zip(listed([(4, 4.0), (6, 5.0), (8, 6.0)]), texts, strict=True)
    ]
    axes = {axis.label: axis for axis in genes_view("demo", drawn).axes}
    assert [label for label in axes if axes[label].words] == ["stem", "residual", "T", "stages", "neuron"]
    assert axes["stem"].words == ("autost", "qkformer", "sdt")
    assert axes["stem"].values == (0, 1, 2)
    assert axes["T"].words == ("1", "the task's")
    assert axes["neuron"].words == ("ilif(levels=2)", "lif", "plif")
    (lines,) = draw_genes(genes_view("demo", drawn)).data
    assert lines.dimensions[2]["ticktext"] == axes["stem"].words


def test_picks_have_the_names_of_what_stands_out():
    members = nondominated(listed(SEARCH))
    assert [(pick.names, pick.candidate.number) for pick in picks_of(members)] == [
        (("least energy",), 0),
        (("knee",), 1),
        (("most FLOPs",), 4),
    ]
    assert knee_of(picks_of(members)) is knee(members)
    (only,) = picks_of(members[:1])
    assert only.name == "least energy and knee and most FLOPs"
    with pytest.raises(ValueError, match="the front is empty"):
        picks_of([])


def charge(name, energy_pj, block=None):
    return Charge(
        name=name,
        stage=name.split(".")[0] if block is None else f"blocks.{block}",
        block=block,
        role=name,
        group="MLP",
        macs=1,
        steps=1,
        driven_by=None,
        rate=None,
        accumulates=None,
        kind="mac",
        moved_bits=0,
        energy_pj=energy_pj,
    )


def test_energy_by_stage_adds_up_for_each_pick():
    members = listed(SEARCH)
    short = Bill(
        pick=Pick(names=("knee",), candidate=members[0]),
        charges=(charge("stem.conv1", 6e9), charge("blocks.0.mlp.fc1", 3e9, 0), charge("head", 1e9)),
    )
    deep = Bill(
        pick=Pick(names=("most FLOPs",), candidate=members[4]),
        charges=(
            charge("stem.conv1", 10e9),
            charge("blocks.0.mlp.fc1", 10e9, 0),
            charge("blocks.1.mlp.fc1", 5e9, 1),
            charge("blocks.1.mlp.fc2", 10e9, 1),
            charge("head", 5e9),
        ),
    )
    view = stages_view("demo", [short, deep])
    assert view.labels == (("knee", "trial 0", "10.0 mJ"), ("most FLOPs", "trial 4", "40.0 mJ"))
    found = {(stage.pick, stage.name): (stage.energy_mj, stage.share) for stage in view.stages}
    assert found[0, "stem"] == pytest.approx((6.0, 0.6))
    assert found[1, "block 1"] == pytest.approx((15.0, 0.375))
    (costly,) = [stage for stage in view.stages if (stage.pick, stage.name) == (1, "block 1")]
    assert costly.lines[1:] == ("blocks.1.mlp.fc2: 10.0 mJ", "blocks.1.mlp.fc1: 5.00 mJ")
    figure = draw_stages(view)
    assert [bar.name for bar in figure.data] == [
        "stem",
        "block 0",
        "block 1",
        "head",
    ]  # the head last, though one is shallow
    assert list(figure.data[-1].x) == pytest.approx([10.0, 12.5])
    assert figure.layout.title.text == "demo: the stem takes 60% of the 10.0 mJ of the knee, trial 0"
    assert [list(bar.text) for bar in figure.data] == [
        ["stem<br>60.0%", "stem<br>25.0%"],
        ["block 0<br>30.0%", "block 0<br>25.0%"],
        ["block 1<br>37.5%"],
        ["head<br>10.0%", "head<br>12.5%"],
    ]
    thin = draw_stages(
        stages_view("demo", [dataclasses.replace(short, charges=(*short.charges, charge("blocks.1.x", 9e7, 1)))])
    )
    assert [(bar.text[0], bar.textangle) for bar in thin.data if bar.name == "block 1"] == [("block 1 0.9%", -90)]
    for pick in (0, 1):
        assert sum(x for bar in figure.data for x, y in zip(bar.x, bar.y, strict=True) if y == pick) == pytest.approx(
            100
        )
    with pytest.raises(ValueError, match="no picks"):
        stages_view("demo", [])


def test_a_long_title_has_lines_and_the_plot_makes_room():
    figure = draw_front(front_view("<b> " * 40, listed(SEARCH)))
    assert "<br>" not in figure.layout.title.text  # a page breaks its lines itself
    found = wrapped(figure, 60, 40)
    lines = found.layout.title.text.split("<br>")
    assert len(lines) > 3
    assert all(line.startswith("&lt;b&gt;") or "knee" in line or "per image" in line for line in lines)
    assert max(len(html.unescape(line)) for line in lines) <= 60
    below = found.layout.title.subtitle.text.split("<br>")
    assert len(below) > 2
    room = found.layout.margin.t - figure.layout.margin.t
    assert room == pytest.approx(1.3 * (19 * (len(lines) - 1) + 13 * (len(below) - 1)))
    assert found.layout.title.pad.t > figure.layout.title.pad.t
    short = draw_front(front_view("demo", listed(SEARCH)))
    assert wrapped(short, 100, 200).layout == short.layout


@pytest.mark.skipif(not shutil.which("chromium"), reason="pages are drawn by Chromium, which is not installed")
@pytest.mark.slow
@pytest.mark.browser
def test_a_page_draws_itself_in_a_browser(tmp_path):
    write_figure(draw_front(front_view("<i>%{x}</i>", listed(SEARCH))), tmp_path / "a.html", "light")
    page = in_browser(tmp_path / "a.html")
    assert 'data-drawn="yes"' in page
    assert 'class="main-svg"' in page
    assert page.count('class="point plotly-customdata"') == 1 + 4 + 1  # dominated, members, the knee
    assert ">Pareto front</text>" in page


def in_browser(path):
    """The page after its script has run."""
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=8000", "--dump-dom"]
    result = subprocess.run([*command, path.as_uri()], capture_output=True, text=True, timeout=60, check=True)
    return result.stdout


@pytest.mark.skipif(not shutil.which("chromium"), reason="static figures need Chromium, which is not installed")
@pytest.mark.parametrize(("name", "start"), [("a.svg", b"<svg"), ("a.png", b"\x89PNG")])
@pytest.mark.browser
@pytest.mark.slow
def test_static_forms(tmp_path, name, start):
    pytest.importorskip("kaleido", reason="static figures need kaleido, which is not installed")
    write_figure(draw_front(front_view("demo", listed(SEARCH))), tmp_path / name)
    assert (tmp_path / name).read_bytes().startswith(start)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_static_forms_without_their_tools_say_what_to_install(tmp_path, monkeypatch):
    figure = draw_front(front_view("demo", listed(SEARCH)))

    def fail(*arguments, **options):
        raise RuntimeError("no browser\nat all")

    monkeypatch.setattr(type(figure), "write_image", fail)
    with pytest.raises(ValueError, match=r"cannot write \.svg \(no browser\); install kaleido and Chromium"):
        write_figure(figure, tmp_path / "a.svg")
    assert list(tmp_path.iterdir()) == []
