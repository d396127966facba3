"""Architecture: what the search chooses in a spiking transformer. A frozen value with JSON, text and AutoST YAML forms."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autost_optuna import notebook, units
from autost_optuna.files import check_keys, parse_json, read_text, read_yaml
from autost_optuna.network.form import AUTOST, Form, read_form
from autost_optuna.network.form import NAMES as FORM_NAMES
from autost_optuna.network.genes import LABELS, MIXER_GENES, NAMES, brief, cell, mixer_of, read_gene, whole_number
from autost_optuna.network.neurons import Neuron
from autost_optuna.network.neurons.kinds import KINDS as NEURONS
from autost_optuna.network.neurons.kinds import neuron_of, neuron_text
from autost_optuna.network.neurons.plif import PLIF
from autost_optuna.network.parts import Part, genes_of
from autost_optuna.network.parts.kinds import FEED_FORWARDS, MIXERS, USUAL_MIXER
from autost_optuna.network.place import Place
from autost_optuna.network.values import Ratio, as_count, as_depth, as_one_of, as_ratio, hidden_units
from autost_optuna.units import StrPath

USUAL = PLIF()
SIDE = 4096  # of a grid on which parts are tried before a task says which: more tokens than a task has
EXAMPLE = '"C=384,depth=4,heads=8,ratio=4"'


@dataclass(frozen=True, kw_only=True, slots=True)
class Architecture:
    """A spiking transformer's embedding dimension, depth, and mixer and MLP ratio of every block.

    `num_heads` gives every block AutoST's spiking self-attention with so many heads. Or `mixer` gives the blocks' mixers, such
    as `Depthwise(kernel=3)`; if they are all AutoST's, it becomes `num_heads`, so that one of the two is always empty. `neuron`
    is that of all layers. Equal architectures compare equal and have equal hashes and keys. Raises ValueError if no such
    network exists.
    """

    embed_dim: int
    depth: int
    num_heads: tuple[int, ...] = ()
    mlp_ratio: tuple[Ratio, ...]
    mixer: tuple[Part, ...] = ()
    neuron: Neuron = USUAL
    form: Form = AUTOST

    def __post_init__(self) -> None:
        as_count("embed_dim", self.embed_dim)
        as_depth(self.depth)
        if not isinstance(self.form, Form):
            raise ValueError(f"form {self.form!r} is not a Form; use Form(stem='spikingformer')")
        object.__setattr__(self, "form", self.form.normalised(self.embed_dim))
        stages = self.stages
        as_one_of("feed_forward", self.form.feed_forward, FEED_FORWARDS)
        for name in ("mixer" if self.mixer else "num_heads", "mlp_ratio"):
            values = getattr(self, name)
            if not isinstance(values, list | tuple):
                raise ValueError(f"{name} {values!r} is not a list; give one value for each of the {self.depth} blocks")
            if len(values) != self.depth:
                raise ValueError(f"{name} lists {len(values)} values for depth {self.depth}; give one for each block")
        for name, value, kinds in (*(("mixer", part, MIXERS) for part in self.mixer), ("neuron", self.neuron, NEURONS)):
            if not isinstance(value, tuple(kinds.values())):
                raise ValueError(
                    f"{name} {value!r} is not one of {', '.join(kind.__name__ for kind in kinds.values())}"
                )
        if self.mixer and self.num_heads:
            raise ValueError(f"num_heads {self.num_heads} and mixer are given; give one of them")
        usual = all(part.word == USUAL_MIXER for part in self.mixer)
        given: Any = self.mixer
        chosen = [part.num_heads for part in given] if given and usual else self.num_heads
        object.__setattr__(self, "num_heads", tuple(as_count("num_heads", h) for h in chosen))
        object.__setattr__(self, "mixer", () if usual else tuple(self.mixer))
        object.__setattr__(self, "mlp_ratio", tuple(as_ratio(r) for r in self.mlp_ratio))
        heads = dict.fromkeys(self.num_heads)  # each once: a deep network repeats few
        mixers = dict.fromkeys(self.mixer) or [MIXERS[USUAL_MIXER](num_heads=number) for number in heads]
        each = iter(zip(self.mixers, self.mlps, strict=True))
        for width, depth in stages:
            at = Place(width=width, side=SIDE, steps=1, still=False)
            blocks = itertools.islice(each, depth)
            parts = itertools.chain(*blocks) if len(stages) > 1 else (*mixers, *dict.fromkeys(self.mlps))
            for part in parts:
                part.after(at)

    @classmethod
    def uniform(cls, *, embed_dim: int, depth: int, num_heads: int, mlp_ratio: Ratio) -> "Architecture":
        """The architecture whose blocks all have the same number of heads and the same ratio."""
        repeat = as_depth(depth)
        return cls(embed_dim=embed_dim, depth=depth, num_heads=(num_heads,) * repeat, mlp_ratio=(mlp_ratio,) * repeat)

    @property
    def is_autost(self) -> bool:
        """Whether all of it is AutoST's form."""
        return not self.mixer and self.neuron == USUAL and self.form == AUTOST

    @property
    def stages(self) -> tuple[tuple[int, int], ...]:
        """Width and number of blocks of each stage; most networks have one."""
        return self.form.stages(self.embed_dim, self.depth)

    @property
    def _others(self) -> dict[str, str]:
        """Neuron and form as short texts by their labels, where they are not AutoST's."""
        return {**({} if self.neuron == USUAL else {"neuron": neuron_text(self.neuron)}), **self.form.cells()}

    @property
    def mixers(self) -> tuple[Part, ...]:
        """The mixer of every block."""
        return self.mixer or tuple(MIXERS[USUAL_MIXER](num_heads=heads) for heads in self.num_heads)

    @property
    def mlps(self) -> tuple[Part, ...]:
        """The feed-forward part of every block."""
        kind = FEED_FORWARDS[self.form.feed_forward]
        return tuple(kind(mlp_ratio=ratio) for ratio in self.mlp_ratio)

    @property
    def widths(self) -> tuple[int, ...]:
        """The width of every block."""
        return tuple(width for width, depth in self.stages for _ in range(depth))

    @property
    def hidden_dims(self) -> tuple[int, ...]:
        """Hidden units of every block's MLP, int(ratio * C)."""
        return tuple(map(hidden_units, self.mlp_ratio, self.widths))

    @property
    def genes(self) -> dict[str, tuple[Any, ...]]:
        """The genes of the blocks, by their names in JSON: one value per block, None if that block lacks the gene.

        The mixers' words are among them unless all blocks are those of AutoST's form.
        """
        found: dict[str, tuple[Any, ...]] = {"mixer": tuple(part.word for part in self.mixer)} if self.mixer else {}
        for gene in MIXER_GENES:
            values = tuple(getattr(part, gene, None) for part in self.mixers)
            if any(value is not None for value in values):
                found[gene] = values
        return {**found, "mlp_ratio": self.mlp_ratio}

    @property
    def key(self) -> str:
        """Canonical text: equal for equal architectures, different for different ones."""
        if not self.mixer:
            mixers = "h" + ".".join(map(str, self.num_heads))
        else:
            values = ([getattr(part, gene) for gene in genes_of(part)] for part in self.mixer)
            words = zip((part.word for part in self.mixer), values, strict=True)
            mixers = "m" + ".".join(word + "_".join(map(str, genes)) for word, genes in words)
        ratios = "_".join(map(str, self.mlp_ratio))
        others = (f"-n{text}" if label == "neuron" else f"-{label}{text}" for label, text in self._others.items())
        return f"C{self.embed_dim}-d{self.depth}-{mixers}-r{ratios}{''.join(others).replace('/', '_')}"

    def _repr_html_(self) -> str:
        """In a notebook: genes and hidden units of the blocks, one line per run of equal blocks; numbered as in the ledger."""
        rows = []
        genes = self.genes
        blocks = enumerate(zip(*genes.values(), self.hidden_dims, strict=True))
        for cells, group in itertools.groupby(blocks, key=lambda block: block[1]):
            numbers = [number for number, _ in group]
            span = str(numbers[0]) if len(numbers) == 1 else f"{numbers[0]} to {numbers[-1]}"
            rows.append([span, *map(cell, cells)])
        title = f"spiking transformer, C={self.embed_dim}, {units.counted(self.depth, 'block')}"
        titles = ["MLP ratio" if name == "mlp_ratio" else LABELS[name] for name in genes]
        return notebook.titled(title, notebook.table(["blocks", *titles, "hidden units"], rows))

    def cells(self) -> dict[str, str]:
        """All that is chosen, as short texts by their labels: {"C": "256", "depth": "2", "heads": "4/8", "ratio": "4"}."""
        blocks = {LABELS[name]: brief(values) for name, values in self.genes.items()}
        return {"C": str(self.embed_dim), "depth": str(self.depth), **blocks, **self._others}

    def to_text(self) -> str:
        """One readable line that `from_text` reads: "C=256,depth=2,heads=4/8,ratio=4"."""
        return ",".join(f"{label}={text}" for label, text in self.cells().items())

    def in_words(self, *, blocks: bool = True) -> str:
        """The same line for people, with or without the blocks: "C 256, depth 2, heads 4/8, ratio 4"."""
        said = [f"{label} {text}" for label, text in self.cells().items()]
        return ", ".join(said if blocks else said[:2])

    @classmethod
    def from_text(cls, text: str) -> "Architecture":
        """Read "C=384,depth=4,heads=8,ratio=4"; what is chosen per block may list every block: heads=4/8/4/4.

        The names of the JSON form work too: "embed_dim=384,depth=4,num_heads=8,mlp_ratio=4". Blocks may have other mixers:
        "mixer=depthwise/ssa,heads=-/8,kernel=3/-", with - for a block that has no such gene.
        """
        given: dict[str, str] = {}
        for part in text.split(","):
            word, equals, value = part.partition("=")
            name = NAMES.get(word.strip(), word.strip())
            if not equals or name in given:
                raise ValueError(f"architecture {text!r}: cannot read {part!r}; write {EXAMPLE}")
            given[name] = value.strip()
        needed = {"embed_dim", "depth", "mlp_ratio", "mixer" if "mixer" in given else "num_heads"}
        if not needed <= set(given) <= set(LABELS):
            raise ValueError(
                f"architecture {text!r} has the fields {', '.join(LABELS.get(name, name) for name in given)}; "
                f"it needs C, depth, {'mixer' if 'mixer' in given else 'heads'} and ratio, as in {EXAMPLE}"
            )
        depth = as_depth(whole_number("depth", given.pop("depth")))
        dim = whole_number("C", given.pop("embed_dim"))
        neuron = {"neuron": given.pop("neuron")} if "neuron" in given else {}
        form = read_form({name: given.pop(name) for name in FORM_NAMES if name in given})
        genes = {name: read_gene(name, value, depth) for name, value in given.items()}
        return cls.from_dict({"embed_dim": dim, "depth": depth, **genes, **neuron, **form})

    def to_dict(self) -> dict[str, Any]:
        """The dict of the JSON form: {"embed_dim", "depth", "num_heads": [...], "mlp_ratio": [...]}, and other genes if any."""
        genes: dict[str, Any] = {name: list(values) for name, values in self.genes.items()}
        neuron = {} if self.neuron == USUAL else {"neuron": neuron_text(self.neuron)}
        return {"embed_dim": self.embed_dim, "depth": self.depth, **genes, **neuron, **self.form.to_dict()}

    @classmethod
    def from_dict(cls, data: object) -> "Architecture":
        """Read the JSON form; ValueError names a missing or unknown key."""
        if isinstance(data, Mapping) and not {"neuron", *FORM_NAMES}.isdisjoint(data):
            shared = ("neuron", *FORM_NAMES)
            blocks = cls._fields_of({name: value for name, value in data.items() if name not in shared})
            neuron = neuron_of(data["neuron"]) if "neuron" in data else USUAL
            form = Form(**{name: data[name] for name in FORM_NAMES if name in data})
            return cls(**blocks, neuron=neuron, form=form)
        return cls(**cls._fields_of(data))

    @staticmethod
    def _fields_of(data: object) -> dict[str, Any]:
        """The fields of the JSON form without neuron and form."""
        known = ("embed_dim", "depth", "num_heads", "mlp_ratio")
        if not isinstance(data, Mapping) or "mixer" not in data:
            return check_keys("architecture", data, known)
        found = check_keys(
            "architecture",
            data,
            tuple(name for name in LABELS if name not in FORM_NAMES),
            ("embed_dim", "depth", "mixer", "mlp_ratio"),
        )
        lists = {name: found.pop(name) for name in ("mixer", *MIXER_GENES) if name in found}
        for name, values in lists.items():
            if not isinstance(values, list | tuple) or len(values) != found["depth"]:
                raise ValueError(f"{name} {values!r} is not a list of {found['depth']} values; give one for each block")
        blocks = zip(*lists.values(), strict=True)
        return {**found, "mixer": tuple(mixer_of(dict(zip(lists, block, strict=True))) for block in blocks)}

    def to_autost(self) -> dict[str, Any]:
        """AutoST's form of a chosen network: {"RETRAIN": {"MLP_RATIO", "NUM_HEADS", "DEPTH", "EMBED_DIM"}}.

        ValueError if it has other mixers or neurons, which that form cannot express.
        """
        if not self.is_autost:
            raise ValueError(
                f"{self.to_text()} is not a network of AutoST's form, so it cannot be written as AutoST's YAML; use JSON"
            )
        return {
            "RETRAIN": {
                "MLP_RATIO": list(self.mlp_ratio),
                "NUM_HEADS": list(self.num_heads),
                "DEPTH": self.depth,
                "EMBED_DIM": self.embed_dim,
            }
        }

    @classmethod
    def from_autost(cls, data: object) -> "Architecture":
        """Read AutoST's RETRAIN section; other sections of the file are ignored, as AutoST does."""
        if not isinstance(data, Mapping) or "RETRAIN" not in data:
            raise ValueError("the YAML has no RETRAIN section; AutoST's form is RETRAIN: {MLP_RATIO, NUM_HEADS, ...}")
        names = ("MLP_RATIO", "NUM_HEADS", "DEPTH", "EMBED_DIM")
        fields = check_keys("RETRAIN", data["RETRAIN"], names)
        return cls(**{name.lower(): value for name, value in fields.items()})

    @classmethod
    def load(cls, path: StrPath) -> "Architecture":
        """Read FILE.json (this project's form) or FILE.yaml (AutoST's RETRAIN form)."""
        path = Path(path)
        if path.suffix in (".yaml", ".yml"):
            return cls.from_autost(read_yaml(path))
        text = read_text(path)
        try:
            data = parse_json(text)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{path} is not an architecture in JSON ({error}); give an architecture.json") from None
        return cls.from_dict(data)


def table_of(architectures: Sequence[Architecture]) -> dict[str, list[str]]:
    """Columns of a table of architectures, by their titles: C, depth, and what is chosen per block, with "-" for none."""
    rows = [architecture.cells() for architecture in architectures]
    titles = [label for label in LABELS.values() if any(label in row for row in rows)]
    absent = {"mixer": USUAL_MIXER, "neuron": USUAL.word, "stem": AUTOST.stem, "residual": AUTOST.residual}
    return {title: [row.get(title, absent.get(title, "-")) for row in rows] for title in titles}
