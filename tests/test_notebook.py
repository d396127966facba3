"""What a notebook shows: well-formed HTML with the object's own figures, and no text of a user's that is markup."""

from dataclasses import replace

import pytest
from makers import EVIL, read

from autost_optuna import Architecture, Task, notebook, units
from autost_optuna.front.picks import knee
from autost_optuna.search import study as studies
from autost_optuna.search.describe import describe
from autost_optuna.search.runner import run
from autost_optuna.search.settings import Plan
from autost_optuna.search.summary import summarise


def test_a_table_by_hand():
    assert notebook.table(["name", "mJ"], [["a<b", "1"]], left=["name"]) == (
        '<table><thead><tr><th style="text-align: left">name</th><th style="text-align: right">mJ</th></tr></thead>'
        '<tbody><tr><td style="text-align: left">a&lt;b</td><td style="text-align: right">1</td></tr></tbody></table>'
    )
    assert read(notebook.facts([("a", "1"), ("empty", ""), ("b", EVIL)]))[1] == [["a", "1"], ["b", EVIL]]


def test_an_architecture_shows_equal_blocks_on_one_line():
    paragraphs, rows = read(Architecture.from_text("C=64,depth=4,heads=4/4/8/8,ratio=2/2/2/2.5"))
    assert paragraphs == ["spiking transformer, C=64, 4 blocks"]
    assert rows == [
        ["blocks", "heads", "MLP ratio", "hidden units"],
        ["0 to 1", "4", "2", "128"],
        ["2", "8", "2", "128"],
        ["3", "8", "2.5", "160"],
    ]


def test_a_space_shows_its_choices(toy_space):
    paragraphs, rows = read(replace(toy_space, name=EVIL))
    assert paragraphs[0].startswith(f"space {EVIL}: 168 architectures")  # 2 widths x (4 + 16 + 64)
    assert rows[0] == ["embed_dim", "16, 32"]


def test_a_description_shows_a_bill_that_adds_up():
    found = describe(Architecture.from_text("C=32,depth=2,heads=4,ratio=2"), Task.preset("digits"))
    paragraphs, rows = read(found)
    assert paragraphs == ["C=32,depth=2,heads=4,ratio=2"]
    bill = rows[rows.index(["stage", "MACs, all steps", "mJ per image", "share"]) + 1 :]
    assert {row[0].split(".")[0] for row in bill} >= {"stem", "head"}
    assert sum(int(row[1].replace(",", "")) for row in bill) == found.candidate.macs
    assert sum(float(row[3].rstrip("%")) for row in bill) == pytest.approx(100, abs=0.1 * len(bill))
    shown = dict(row for row in rows if len(row) == 2)
    assert shown["energy per image"] == f"{units.energy(found.candidate.energy_mj)}, horowitz-45nm-fp32"
    assert shown["rates"] == found.candidate.provenance
    assert "silent" not in shown["spike rate"]
    assert "silent" in dict(r for r in read(replace(found.candidate, silent=True))[1])["spike rate"]
    assert replace(found.candidate, mean_rate=0.1234, dead_share=0.0).rate_in_words == "0.123"
    dead = replace(found.candidate, mean_rate=0.00034, dead_share=0.25)
    assert dead.rate_in_words == "0.00034, 25.0% of the spike-driven MACs read dead layers"


def test_a_search_shows_its_front_and_health(toy_space, toy_task, tmp_path):
    search = studies.create(EVIL, str(tmp_path / "s.journal"), Plan(space=toy_space, task=toy_task))
    assert read(search)[0][-1] == "no complete trial yet"
    assert dict(read(summarise(search))[1])["trials"].startswith("0 complete")
    run(search, trials=60)
    paragraphs, rows = read(search)
    members, chosen = search.front(), knee(search.front())
    assert paragraphs[0] == f"study {EVIL}"
    assert rows[0] == ["trial", "architecture", "M parameters", "GFLOPs", "mJ per image"]
    assert len(rows) - 1 == min(len(members), len(rows) - 1) <= 11 < len(members)
    assert [row[1] for row in rows if row[0].startswith("* ")] == [chosen.architecture.to_text()]
    numbers = [int(row[0].removeprefix("* ")) for row in rows[1:]]
    assert numbers == [member.number for member in members if member.number in numbers]
    assert read(chosen)[0] == [f"trial {chosen.number}: {chosen.architecture.to_text()}"]
    summary = summarise(search)
    shown = dict(read(summary)[1])
    assert shown["front"].startswith(f"{len(members)} members")
    assert shown["hypervolume"].startswith(f"{summary.hypervolume:.4f}")
