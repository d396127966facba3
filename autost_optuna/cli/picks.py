"""The options --pick and --max-energy, and the members of a front that they select."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from autost_optuna import units
from autost_optuna.cli import printing

if TYPE_CHECKING:
    from autost_optuna.front.front import AnyTraded, Box

picks = click.option("--pick", metavar="knee|K", help="The knee, or the K members with the largest joint hypervolume.")
budget = click.option(
    "--max-energy",
    type=float,
    metavar="MJ",
    help="The member with the most FLOPs that costs at most MJ; with --pick, the picks among such members.",
)


def selected(
    members: "Sequence[AnyTraded]", box: "Box", pick: str | None, max_energy: float | None
) -> "list[AnyTraded]":
    """The members of a front that --pick and --max-energy select; all if neither is given."""
    from autost_optuna.front.picks import knee, within

    found = list(members) if max_energy is None else within(members, max_energy)
    if pick is None:
        return found if max_energy is None else found[-1:]
    if pick == "knee":
        return [knee(found)]
    if not pick.isdecimal():
        raise ValueError(f"pick {pick!r} is neither knee nor a number of members; write --pick 5")
    return picked(found, box, int(pick))


def picked(members: "Sequence[AnyTraded]", box: "Box", count: int) -> "list[AnyTraded]":
    """The `count` members with the largest joint hypervolume; prints a note if there are fewer."""
    from autost_optuna.front.front import in_plane
    from autost_optuna.front.picks import pick

    found = in_plane(members)
    if count > len(found):
        printing.note(f"all {units.counted(len(found), 'member')} there are, fewer than the {count} asked for")
    return pick(found, box, count)
