"""What part of the plane the Pareto plot shows, how it marks what lies outside, and where names find room."""

import dataclasses
import math
import random
from itertools import pairwise

import pytest
from makers import candidate, listed

from autost_optuna import Architecture
from autost_optuna.delivery.plots.figure import FEWEST, ticks
from autost_optuna.delivery.plots.frame import Frame, edges, frame_of, with_room
from autost_optuna.delivery.plots.front import Overlay, draw_front, front_view
from autost_optuna.delivery.plots.labels import Room, Spot, place_labels, spots, steps
from autost_optuna.delivery.plots.points import BUDGET, finding
from autost_optuna.search.baselines import Baseline

UNIT = Frame(low=(0.0, 0.0), high=(1.0, 1.0))  # a decade on each axis
SEARCH = [(10, 1.0), (30, 2.0), (20, 3.0), (90, 40.0), (100, 100.0)]


def point(x, y):
    """The point at shares of UNIT's axes."""
    return UNIT.at((x, y))


def test_a_frame_follows_its_core_and_takes_in_what_lies_near():
    core = [(1.0, 1.0), (10.0, 10.0)]
    bare = frame_of(core)
    assert bare.share((1.0, 1.0)) == pytest.approx((0.06 / 1.12, 0.09 / 1.18))
    assert frame_of(core, [(1e4, 3.0), (3.0, 1e-4)]) == bare  # far in one axis is far
    near = frame_of(core, [(20.0, 3.0)])
    assert near.holds((20.0, 3.0))
    assert near.low == pytest.approx((-0.06 * math.log10(20), bare.low[1]))
    for one in core:
        assert near.holds(one)
    single = frame_of([(5.0, 7.0)])
    assert single.share((5.0, 7.0)) == pytest.approx((0.5, 0.5))
    assert single.high[0] - single.low[0] == pytest.approx(1.12 * math.log10(2))


def test_a_frame_makes_room_for_names_below_and_above():
    assert with_room(UNIT, [point(0.5, 0.5), point(-3, 0.5)]) == UNIT
    assert with_room(UNIT, [point(0.5, -2)]) == Frame(low=(0.0, -0.07), high=UNIT.high)
    assert with_room(UNIT, [point(0.5, -2), point(2, 2)]).high == (1.0, 1.07)


@pytest.mark.parametrize(
    ("share", "symbol", "at"),
    [
        ((2, 0.5), "triangle-right", (0.978, 0.5)),
        ((-1, 0.5), "triangle-left", (0.022, 0.5)),
        ((0.5, 3), "triangle-up", (0.5, 0.978)),
        ((0.5, -3), "triangle-down", (0.5, 0.022)),
        ((2, 2), "triangle-ne", (0.978, 0.978)),
        ((-2, 2), "triangle-nw", (0.022, 0.978)),
        ((2, -2), "triangle-se", (0.978, 0.022)),
        ((-2, -2), "triangle-sw", (0.022, 0.022)),
    ],
)
def test_a_mark_at_the_edge_points_to_what_lies_outside(share, symbol, at):
    (edge,) = edges(UNIT, [point(0.5, 0.5), point(*share)])
    assert (edge.symbol, edge.places) == (symbol, (1,))
    assert UNIT.share(edge.at) == pytest.approx(at)


def test_marks_that_would_meet_at_an_edge_are_one():
    corner = [point(2, 2), point(3, 5), point(9, 2)]
    assert [edge.places for edge in edges(UNIT, corner)] == [(0, 2, 1)]
    side = [point(2, 0.9), point(2, 0.1), point(3, 0.15), point(2, 0.5)]
    assert [edge.places for edge in edges(UNIT, side)] == [(1, 2), (3,), (0,)]


def test_labels_cover_neither_each_other_nor_marks_and_stay_inside():
    sides = ("top left", "bottom right", "top right", "bottom left")
    label = [spots(["a name"], point(0.5, 0.5), *sides)]
    assert place_labels(Room(frame=UNIT, hard=[]), label * 5)[:5] == [*label[0], None]
    (first,) = place_labels(Room(frame=UNIT, hard=[point(0.46, 0.53)]), label)
    assert first.side == "bottom right"
    (soft,) = place_labels(Room(frame=UNIT, hard=[], soft=[point(0.46, 0.53), point(0.54, 0.47)]), label)
    assert soft.side == "top right"
    assert place_labels(Room(frame=UNIT, hard=[]), [spots(["a name"], point(0.02, 0.5), "top left")]) == [None]
    assert place_labels(Room(frame=UNIT, hard=[]), []) == []


def test_no_label_slips_through_the_steps_of_a_front():
    line = steps([point(0, 0), point(0.6, 0.8)], UNIT)
    shares = sorted(UNIT.share(one) for one in line)
    assert all(abs(x - 0.6) < 1e-9 or abs(y) < 1e-9 for x, y in shares)  # right, then up
    assert max(max(abs(c - a), abs(d - b)) for (a, b), (c, d) in pairwise(shares)) < 0.008
    assert steps([point(0.5, 0.5)], UNIT) == [point(0.5, 0.5)]


OWN = Architecture.from_text("C=96,depth=2,heads=4/8,ratio=4")


def baseline(name, flops, energy_mj):
    return Baseline(name=name, architecture=OWN, params=5_000_000, macs=flops // 2, energy_mj=energy_mj)


def words(figure):
    """The labels in a figure, with the spots where they stand."""
    return {
        text: Spot(lines=tuple(text.split("<br>")), at=(x, y), side=side)
        for trace in figure.data
        if trace.mode == "markers+text"
        for text, x, y, side in zip(trace.text, trace.x, trace.y, trace.textposition, strict=True)
    }


def frame(figure):
    x, y = figure.layout.xaxis.range, figure.layout.yaxis.range
    return Frame(low=(x[0], y[0]), high=(x[1], y[1]))


def test_a_far_baseline_leaves_the_front_its_width_and_is_named_at_the_edge():
    far = baseline("far away", 10**9, 1e6)
    figure = draw_front(front_view("demo", listed(SEARCH), Overlay(baselines=[far])))
    seen = frame(figure)
    assert seen.share((100.0, 1))[0] - seen.share((1.0, 1))[0] > 0.85
    (mark,) = [trace for trace in figure.data if trace.name == "baselines outside the plot"]
    assert (mark.marker.symbol, mark.showlegend) == (("triangle-ne",), True)
    assert seen.holds((mark.x[0], mark.y[0]))
    assert "<b>far away</b>" in mark.customdata[0]
    assert words(figure)["far away: 1000000 mJ, 1.00 GFLOPs"].at == (mark.x[0], mark.y[0])
    near = baseline("near", 60, 50.0)
    figure = draw_front(front_view("demo", listed(SEARCH), Overlay(baselines=[near])))
    assert [trace.name for trace in figure.data if "baselines" in (trace.name or "")] == ["baselines"]
    assert frame(figure).holds((50.0, 60e-9))


def test_a_cloud_far_off_is_cut_and_the_legend_says_so():
    lost = [candidate(11 + number, 1e5, number + 9) for number in range(3)]
    figure = draw_front(front_view("demo", [*listed(SEARCH), *lost]))
    assert figure.data[0].name == "dominated, 3 outside the plot"
    assert len(figure.data[0].x) == 4  # all are there for a reader who zooms out
    assert frame(figure) == frame(draw_front(front_view("demo", listed(SEARCH))))


def test_a_title_has_the_figures_of_the_knee_or_of_what_a_budget_buys():
    members = [member for member in listed(SEARCH) if member.number != 2]
    assert finding(members) == "the knee gives 30 FLOPs for 2.00 mJ per image (trial 1, C 16, depth 1)"
    assert finding(members, 50) == "50 mJ per image buys at most 90 FLOPs (trial 3, C 32, depth 1)"
    assert finding(members, 0.5) == finding(members)  # it buys none
    alone = dataclasses.replace(members[0], number=None)
    assert finding([alone]) == "the only member gives 10 FLOPs for 1.00 mJ per image (C 8, depth 1)"
    view = front_view("<b>", listed(SEARCH), Overlay(limits={BUDGET: 50.0}))
    assert draw_front(view).layout.title.text.startswith("&lt;b&gt;: 50 mJ per image buys at most 90 FLOPs")


def test_limits_are_lines_with_their_names():
    view = front_view("demo", listed(SEARCH), Overlay(limits={BUDGET: 50.0, "constraint": 120.0}))
    figure = draw_front(view)
    seen = frame(figure)
    lines = {trace.name: trace for trace in figure.data if trace.mode == "lines"}
    for name, energy_mj in (("budget 50 mJ", 50.0), ("constraint 120 mJ", 120.0)):
        assert list(lines[name].x) == [energy_mj] * 2
        assert [seen.share((energy_mj, y))[1] for y in lines[name].y] == pytest.approx([0, 1])
        assert words(figure)[name].at[0] == energy_mj
    far = draw_front(front_view("demo", listed(SEARCH), Overlay(limits={BUDGET: 1e9})))
    assert frame(far) == frame(draw_front(front_view("demo", listed(SEARCH))))
    assert not [trace for trace in far.data if trace.mode == "lines"]
    assert "1e+09 mJ per image buys" in far.layout.title.text


def test_picks_and_widths_have_names():
    members = listed(SEARCH)
    bare = draw_front(front_view("demo", members))
    assert "knee: trial 1<br>C 16, depth 1" in words(bare) or "knee: trial 1, C 16, depth 1" in words(bare)
    assert {"C 8", "C 32", "C 40"} <= set(words(bare))
    picked = words(draw_front(front_view("demo", members, Overlay(picks=[members[0], members[3]]))))
    assert {text.replace("<br>", ", ") for text in picked if "trial" in text} == {
        "trial 0, C 8, depth 1",
        "trial 3, C 32, depth 1",
    }


def crowd(count, seed):
    """A front with steep and flat parts, a cloud, picks, and baselines inside and outside."""
    draw = random.Random(seed)
    flops, energy, found = 1e9, 0.2, []
    for number in range(count):
        flops, energy = flops * (1 + 0.2 * draw.random()), energy * (1 + 0.1 * draw.random() ** 4)
        found.append(candidate(int(flops), energy, 1 + number // 5))
        found.append(candidate(int(flops * draw.random()), energy * (1 + draw.random()), 50 + number))
    found = [dataclasses.replace(one, number=number) for number, one in enumerate(found)]
    made = [
        baseline(f"network-{n}", int(flops * draw.uniform(0.01, 2)), energy * draw.uniform(0.01, 9)) for n in range(6)
    ]
    architectures = [Architecture.uniform(embed_dim=8 * n, depth=1, num_heads=1, mlp_ratio=1) for n in range(1, 7)]
    return found, [dataclasses.replace(one, architecture=a) for one, a in zip(made, architectures, strict=True)]


@pytest.mark.parametrize("seed", range(8))
def test_no_two_names_in_a_crowd_overlap_and_none_covers_a_mark(seed):
    candidates, baselines = crowd(40, seed)
    view = front_view("demo", candidates, Overlay(baselines=baselines, limits={BUDGET: 0.4}))
    view = dataclasses.replace(view, picks=view.members[::8])
    figure = draw_front(view)
    seen, labels = frame(figure), words(figure)
    boxes = [spot.box(seen) for spot in labels.values()]
    assert len(boxes) > 5
    for place, (left, low, right, high) in enumerate(boxes):
        assert all(right <= a or c <= left or high <= b or d <= low for a, b, c, d in boxes[:place])
        for one in (*view.members, *(mark for mark in view.baselines)):
            x, y = seen.share((one.energy_mj, one.flops / 1e9))
            assert not (left < x < right and low < y < high)


@pytest.mark.parametrize(
    ("ends", "said"),
    [
        ((1.05, 1.12), ["1.06", "1.08", "1.1", "1.12"]),
        ((3.1, 3.9), ["3.2", "3.4", "3.6", "3.8"]),
        ((1, 1.0001), ["1", "1.00005", "1.0001"]),
        ((0.2, 1.16), ["0.2", "0.3", "0.4", "0.5", "0.7", "1"]),
        ((1, 100), ["1", "2", "5", "10", "20", "50", "100"]),
        ((5, 5), ["5"]),
    ],
)
def test_an_axis_has_ticks_at_round_numbers(ends, said):
    assert ticks(ends)["ticktext"] == said


def test_a_logarithmic_axis_has_at_least_three_ticks_in_sight():
    draw = random.Random(0)
    for _ in range(2000):
        low = 10 ** draw.uniform(-6, 6)
        high = low * 10 ** (10 ** draw.uniform(-4, 0.5))
        for most in (None, 7):
            shown = ticks([low, high], most)["tickvals"]
            assert sum(low <= tick <= high for tick in shown) >= FEWEST, (low, high)
            assert most is None or len(shown) <= most
            assert len(set(shown)) == len(shown)


@pytest.mark.parametrize("ratio", [1.0, 1.0001, 1.3, 5.0])
def test_a_narrow_front_has_three_ticks_on_each_axis(ratio):
    found = [candidate(10**9, 1.0), candidate(int(10**9 * ratio) + 1, 1.0 * ratio + 1e-9, 1)]
    figure = draw_front(front_view("demo", found))
    seen = frame(figure)
    for axis, low, high in zip((figure.layout.xaxis, figure.layout.yaxis), seen.low, seen.high, strict=True):
        assert sum(10**low <= tick <= 10**high for tick in axis.tickvals) >= FEWEST
