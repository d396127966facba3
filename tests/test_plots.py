import math
import shutil

import pytest
from test_front import candidate, listed
from test_trained import training

from autost_optuna import Architecture, Task
from autost_optuna.baselines import NETWORKS, Baseline
from autost_optuna.exact import ExactFront, Member
from autost_optuna.objective import describe
from autost_optuna.plots.audit import audit_view, draw_audit
from autost_optuna.plots.figure import BLUE, GREEN, ORANGE, PURPLE, write_figure
from autost_optuna.plots.front import Mark, draw_front, front_view, label_corners
from autost_optuna.plots.trained import draw_trained, trained_view
from autost_optuna.proxies.convention import CONVENTIONS

SEARCH = [(10, 1.0), (30, 2.0), (20, 3.0), (90, 40.0), (100, 100.0)]


def test_view_parts_front_dominated_and_knee():
    view = front_view("demo", [*listed(SEARCH), candidate(500, 0.01, 9, silent=True)])
    assert [c.number for c in view.members] == [0, 1, 3, 4]
    assert [c.number for c in view.dominated] == [2]
    assert view.knee.number == 1
    assert view.title == "demo: 4 members of the front among 5 architectures"


def test_figure_shows_the_view_on_log_axes_with_units():
    figure = draw_front(front_view("demo", listed(SEARCH)))
    dominated, front, knee = figure.data
    assert list(front.x) == [1.0, 2.0, 40.0, 100.0]
    assert list(front.y) == [10e-9, 30e-9, 90e-9, 100e-9]
    assert front.line.shape == "hv"  # between two members, the cheaper one is the best there is
    assert list(dominated.x) == [3.0]
    assert list(knee.x) == [2.0]
    assert figure.layout.xaxis.type == figure.layout.yaxis.type == "log"
    assert "mJ" in figure.layout.xaxis.title.text
    assert "GFLOPs" in figure.layout.yaxis.title.text
    assert "trial 1" in knee.customdata[0]
    assert "heads 1" in knee.customdata[0]


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
    family = [baseline(f"{name}-4-384", 28, 4.0, NETWORKS[f"{name}-4-384"].architecture) for name in FAMILY]
    view = front_view("demo", listed(SEARCH), baselines=[*family, baseline("<b>mine", 200, 50.0)])
    bare = front_view("demo", listed(SEARCH))
    assert (view.title, view.members, view.dominated, view.knee) == (
        bare.title, bare.members, bare.dominated, bare.knee
    )  # fmt: skip
    assert [mark.names for mark in view.baselines] == [("spikformer-4-384", "spikingformer-4-384"), ("<b>mine",)]
    assert "dominated by 1 member: e.g. trial 1" in "".join(view.baselines[0].lines)
    drawn = draw_front(view).data[-1]
    assert (drawn.name, drawn.mode, drawn.marker.symbol) == ("baselines", "markers+text", "diamond")
    assert list(drawn.x) == [4.0, 50.0]
    assert list(drawn.y) == [28e-9, 200e-9]
    assert list(drawn.text) == ["spikformer-4-384<br>spikingformer-4-384", "&lt;b&gt;mine"]
    assert "spikformer-4-384 as published: 95.19 % CIFAR-10" in drawn.customdata[0]
    assert "non-dominated" in drawn.customdata[1]
    low, high = draw_front(view).layout.xaxis.range
    assert 10**low < 1.0
    assert 10**high > 100.0 * 2  # room for a label right of the dearest


FAMILY = ("spikformer", "spikingformer")


def test_labels_cover_no_other_label():
    marks = [
        Mark(names=(f"network-{number}",), energy_mj=1.0 - 0.001 * number, flops=1000 + number, lines=())
        for number in range(6)
    ]
    corners = label_corners(marks, [0.5, 3.0], [300, 9000])
    assert corners == ["bottom right", "top right", "bottom left", "top left", "", ""]
    apart = [Mark(names=("a",), energy_mj=10.0**n, flops=10**n, lines=()) for n in range(6)]
    assert set(label_corners(apart, [1, 1e5], [1, 1e5])) == {"bottom right"}
    assert label_corners(apart[:1], [1.0], [1]) == ["bottom right"]


def test_the_exact_front_lies_behind_the_searched_one():
    view = front_view("demo", listed(SEARCH), exact=EXACT)
    figure = draw_front(view)
    assert [trace.name for trace in figure.data] == ["dominated", "exact front (825 classes)", "Pareto front", "knee"]
    exact, front = figure.data[1:3]
    assert (list(exact.x), list(exact.y)) == ([0.9, 30.0], [12e-9, 95e-9])
    assert exact.line.dash
    assert exact.line.width < front.line.width
    assert exact.line.shape == "hv"
    assert "heads 4/8" in exact.customdata[0]


def test_picks_are_ringed():
    members = listed(SEARCH)
    figure = draw_front(front_view("demo", members, picks=[members[1], members[3]]))
    assert (figure.data[-1].name, figure.data[-1].marker.symbol) == ("2 picks", "circle-open")
    assert list(figure.data[-1].x) == [2.0, 40.0]


def test_the_colours_can_be_told_apart():
    # Okabe and Ito 2008, and a grey and an ink that differ in lightness.
    assert {BLUE, ORANGE, GREEN, PURPLE} <= {"#0072b2", "#d55e00", "#009e73", "#cc79a7"}
    kinds = draw_front(
        front_view("demo", listed(SEARCH), exact=EXACT, picks=listed(SEARCH)[:1], baselines=[baseline("a", 9, 9.0)])
    ).data
    assert len({trace.name for trace in kinds}) == len(kinds) == 6
    dots = [trace.marker for trace in kinds if "markers" in trace.mode]
    assert len({(dot.symbol, dot.color) for dot in dots}) == len(dots)


def test_quantised_points_stand_beside_their_members():
    figure = draw_front(front_view("demo", listed(SEARCH), quantised=True))
    points = figure.data[-1]
    assert list(points.x) == [0.5, 1.0, 20.0, 50.0]
    assert list(points.y) == list(figure.data[1].y)
    assert "without spikes, one pass of 8-bit MACs: 0.500 mJ" in points.customdata[0]
    assert len(draw_front(front_view("demo", listed(SEARCH))).data) == len(figure.data) - 2


@pytest.mark.parametrize("convention", ["horowitz-45nm-fp32", "memory"])
def test_the_audit_is_drawn_whole_by_stage(convention):
    description = describe(
        Architecture.from_text("C=32,depth=2,heads=4,ratio=2"),
        Task.preset("digits"),
        convention=CONVENTIONS[convention],
    )
    view = audit_view(description)
    assert view.stages == ("stem", "blocks.0", "blocks.1", "head")
    assert math.fsum(s.energy_mj for s in view.segments) == pytest.approx(description.candidate.energy_mj, rel=1e-12)
    assert sum(len(s.lines) for s in view.segments) == len(description.charges)
    assert {s.family for s in view.segments if s.real} == {"convolutions", "position convolution", "head"}
    assert ("neuron states" in {s.family for s in view.segments}) == (convention == "memory")
    figure = draw_audit(view)
    assert figure.layout.barmode == "stack"
    drawn = math.fsum(y for bar in figure.data for y in bar.y)
    assert drawn == pytest.approx(description.candidate.energy_mj, rel=1e-12)
    assert convention in figure.layout.title.subtitle.text
    assert "mJ" in figure.layout.yaxis.title.text


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
    assert view.title == "demo: 5 trained networks of 4 architectures, predicted and measured"
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
    low, high = min(figure.layout.xaxis.tickvals), max(figure.layout.xaxis.tickvals)
    assert low <= 1.0
    assert high >= 60.0 / 2


def test_members_that_were_predicted_alike_share_their_text():
    alike = [trained(0, 1.0, 2.0, 0.5), trained(1, 1.0, 2.5, 0.4)]
    figure = draw_trained(trained_view("demo", listed(SEARCH), alike))
    (predicted,) = [trace for trace in figure.data if trace.name == "predicted (number of its trial)"]
    assert list(predicted.text) == ["0, 1", ""]


def test_a_name_stays_text():
    title = draw_front(front_view("<b>&", listed(SEARCH))).layout.title.text
    assert title.startswith("&lt;b&gt;&amp;")


@pytest.mark.skipif(not shutil.which("chromium"), reason="static figures need Chromium, which is not installed")
@pytest.mark.parametrize(("name", "start"), [("a.svg", b"<svg"), ("a.png", b"\x89PNG")])
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
