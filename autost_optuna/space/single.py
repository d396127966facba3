"""A space around one architecture, and the parameters that choose an architecture in its space."""

from typing import Any

from autost_optuna.network.architecture import Architecture
from autost_optuna.network.form import NAMES
from autost_optuna.network.neurons.kinds import neuron_text
from autost_optuna.network.parts import genes_of
from autost_optuna.network.styles import STAGED
from autost_optuna.space.layout import USUAL
from autost_optuna.space.space import Space


def space_around(architecture: Architecture, name: str) -> Space:
    """The smallest space that holds an architecture: its choices per network, and the blocks that it has."""
    form, stages = architecture.form, architecture.stages
    mixers = dict.fromkeys(architecture.mixers)
    genes: dict[str, set[int]] = {}
    for part in mixers:
        for gene in genes_of(part):
            genes.setdefault(gene, set()).add(getattr(part, gene))
    choices = {key: [getattr(form, key)] for key in NAMES if key in USUAL and key != "widths"}
    if form.stem in STAGED:
        depths = {"stages": [len(stages)], "stage_depth": sorted({depth for _, depth in stages})}
        choices |= depths if len(stages) > 1 else {}
        choices |= (
            {"widths": [" ".join(f"{width}/{architecture.embed_dim}" for width, _ in stages)]} if form.widths else {}
        )
    return Space(
        name=name,
        embed_dim=(architecture.embed_dim,),
        depth=(architecture.depth,) if len(stages) == 1 else (),
        mixer=tuple(dict.fromkeys(part.word for part in mixers)),
        num_heads=tuple(genes.pop("num_heads", ())),
        genes={gene: tuple(values) for gene, values in genes.items()},
        mlp_ratio=tuple(set(architecture.mlp_ratio)),
        dividing_heads=True,
        neuron=(neuron_text(architecture.neuron),),
        form={key: tuple(values) for key, values in choices.items()},
    )


def values_of(space: Space, architecture: Architecture) -> dict[str, Any]:
    """The parameters by which `Space.architecture` gives an architecture of the space. ValueError if it is none."""
    if architecture not in space:
        raise ValueError(f"{architecture.to_text()} is no architecture of the space {space.name}")
    form, stages = architecture.form, architecture.stages
    known = {
        "embed_dim": architecture.embed_dim,
        "depth": architecture.depth,
        "neuron": neuron_text(architecture.neuron),
        "stages": len(stages),
        **{key: getattr(form, key) for key in NAMES if key in USUAL and key != "widths"},
        **{f"depth_{number}": depth for number, (_, depth) in enumerate(stages, 1)},
    }
    widths = tuple(width for width, _ in stages)
    known |= space.layouts.chosen_widths(known, widths)
    letters = list(zip(architecture.mixers, architecture.mlp_ratio, strict=True))
    known |= space.sharing.values(widths, tuple(depth for _, depth in stages), letters)
    return {name: known[name] for name in space.active(known)}
