import math
import shutil

import pytest
from test_front import candidate, listed

from autost_optuna import Architecture, Task
from autost_optuna.objective import describe
from autost_optuna.plots.audit import audit_view, draw_audit
from autost_optuna.plots.figure import write_figure
from autost_optuna.plots.front import draw_front, front_view
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


def test_quantised_points_stand_beside_their_members():
    figure = draw_front(front_view("demo", listed(SEARCH), quantised=True))
    points = figure.data[-1]
    assert list(points.x) == [0.5, 1.0, 20.0, 50.0]
    assert list(points.y) == list(figure.data[1].y)
    assert "without spikes 0.500 mJ" in points.customdata[0]
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
