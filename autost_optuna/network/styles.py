"""Styles: what a published family fixes in all its networks, whatever is chosen: embeddings, biases, products, head."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

GROUP = 64
ALL = ("q", "k", "v", "proj", "fc1", "fc2")
WITHOUT_QKV = ("proj", "fc1", "fc2")
SPIKFORMER = "Zhou et al., ICLR 2023, arXiv 2209.15425"
SPIKINGFORMER = "Zhou et al. 2023, arXiv 2304.11954"
QKFORMER = "Zhou et al., NeurIPS 2024, arXiv 2403.16552"
MAXFORMER = "Fang et al. 2025 (Max-Former), github.com/bic-L/MaxFormer"


@dataclass(frozen=True, kw_only=True, slots=True)
class Style:
    """What the code of a family's authors fixes.

    `embedding` names how images become tokens and tokens those of the next stage; see `parts.embedding`. `biases` are the
    layers that have one, by name. `order` is that of attention's products: "qk" for (q k^T) v, "kv" for q (k^T v). `head`
    is the form of the head; see `parts.head`. If `joined`, an MLP that is as wide as its stream adds to it behind each of
    its two layers. `scale` multiplies attention's first product. `group` is how many channels of a grouped convolution are one
    group. `fraction` is the part of the first stage's width that the narrowest layer of its embedding has: 8 for C / 8.
    """

    embedding: str
    biases: tuple[str, ...]
    order: str
    head: str
    fraction: int
    source: str
    joined: bool = False
    group: int = GROUP
    scale: float = 0.125


RESFORMER = Style(
    embedding="spikingresformer",
    biases=(),
    order="kv",
    head="every step",
    fraction=1,
    source="Shi, Hao, Yu, CVPR 2024, arXiv 2403.14302",
)
STYLES: Mapping[str, Style] = MappingProxyType(
    {
        "autost": Style(
            embedding="autost",
            biases=ALL,
            order="qk",
            head="mean",
            fraction=8,
            source="Wang et al., ICASSP 2024, arXiv 2307.00293",
        ),
        "spikformer": Style(embedding="spikformer", biases=ALL, order="qk", head="mean", fraction=8, source=SPIKFORMER),
        "spikformer-events": Style(
            embedding="spikformer",
            biases=WITHOUT_QKV,
            order="qk",
            head="mean",
            fraction=8,
            source=SPIKFORMER,
            scale=0.25,
        ),
        "spikformer-imagenet": Style(
            embedding="spikformer", biases=WITHOUT_QKV, order="kv", head="mean", fraction=8, source=SPIKFORMER
        ),
        "spikingformer": Style(
            embedding="spikingformer", biases=WITHOUT_QKV, order="qk", head="mean", fraction=8, source=SPIKINGFORMER
        ),
        "spikingformer-imagenet": Style(
            embedding="spikingformer", biases=WITHOUT_QKV, order="kv", head="mean", fraction=8, source=SPIKINGFORMER
        ),
        "sdt": Style(
            embedding="sdt",
            biases=WITHOUT_QKV,
            order="qk",
            head="spikes",
            fraction=8,
            source="Yao et al., NeurIPS 2023, arXiv 2307.01694",
            joined=True,
        ),
        "qkformer": Style(
            embedding="qkformer", biases=WITHOUT_QKV, order="kv", head="mean", fraction=2, source=QKFORMER
        ),
        "qkformer-imagenet": Style(
            embedding="qkformer-imagenet", biases=WITHOUT_QKV, order="kv", head="mean", fraction=2, source=QKFORMER
        ),
        "maxformer": Style(
            embedding="maxformer",
            biases=(*WITHOUT_QKV, "conv"),
            order="kv",
            head="mean of spikes",
            fraction=2,
            source=MAXFORMER,
            joined=True,
        ),
        "maxformer-imagenet": Style(
            embedding="maxformer",
            biases=(*WITHOUT_QKV, "conv"),
            order="kv",
            head="spikes",
            fraction=2,
            source=MAXFORMER,
            joined=True,
        ),
        "spikingresformer": RESFORMER,
        "spikingresformer-events": replace(RESFORMER, group=32),
    }
)
USUAL_STYLE = "autost"
STAGED = (
    "qkformer",
    "qkformer-imagenet",
    "maxformer",
    "maxformer-imagenet",
    "spikingresformer",
    "spikingresformer-events",
)
