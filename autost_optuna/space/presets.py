"""The spaces that have names, as the fields of a space."""

from typing import Any

FAMILIES: dict[str, Any] = {
    "mixer": ("ssa", "sdsa", "qkta", "qkca", "depthwise", "identity", "dssa"),
    "kernel": (3, 5, 7),
    "patch": (1, 2, 4),
    "dividing_heads": True,
    "neuron": ("lif", "plif"),
    "stem": ("autost", "spikformer", "spikingformer", "sdt", "qkformer", "maxformer", "spikingresformer"),
    "feed_forward": ("mlp", "gffn"),
    "stages": (3,),
    "stage_depth": (1, 2, 3),
    "widths": ("1/4 1/2 1", "1/6 1/2 1"),
    "shared": "stage",
}

# AutoST, ICASSP 2024 (arXiv 2307.00293): the three supernet spaces of the paper.
CHOICES_OF_PRESETS: dict[str, dict[str, Any]] = {
    "tiny": {
        "embed_dim": range(192, 385, 64),
        "depth": range(1, 11),
        "num_heads": (4, 8),
        "mlp_ratio": (3, 4, 5),
    },
    "small": {
        "embed_dim": range(256, 513, 64),
        "depth": range(2, 13),
        "num_heads": (4, 8),
        "mlp_ratio": (3, 4, 5),
    },
    "base": {
        "embed_dim": range(384, 769, 64),
        "depth": range(4, 16),
        "num_heads": (4, 8),
        "mlp_ratio": (3, 4, 5, 6),
    },
    # Every family that is published for CIFAR is a point of this space, in its own form.
    "families": {
        "embed_dim": (256, 384, 512),
        "depth": range(1, 9),
        "num_heads": (1, 3, 4, 6, 8, 12),
        "mlp_ratio": (2, 3, 4),
        **FAMILIES,
        "residual": ("membrane", "spike"),
        "position": ("published", "depthwise", "absent"),
    },
    # What two processor cores can train: each family at several widths.
    "compact": {
        "embed_dim": (48, 72, 96, 144, 192),
        "depth": range(1, 5),
        "num_heads": (1, 2, 3, 4, 6, 8),
        "mlp_ratio": (2, 4),
        **FAMILIES,
        "residual": ("membrane", "spike"),
    },
}
