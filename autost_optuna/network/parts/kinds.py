"""The kinds of part, by their words. A new kind is two files and one word here."""

from typing import Any

from autost_optuna.network.parts.depthwise import Depthwise
from autost_optuna.network.parts.head import LinearHead
from autost_optuna.network.parts.identity import Identity
from autost_optuna.network.parts.mlp import MLP
from autost_optuna.network.parts.ssa import SSA
from autost_optuna.network.parts.stem import AutoSTStem

MIXERS: dict[str, Any] = {kind.word: kind for kind in (SSA, Depthwise, Identity)}
USUAL_MIXER = SSA.word  # that of AutoST's form, which no text and no file needs to name
STEM, FEED_FORWARD, HEAD = AutoSTStem, MLP, LinearHead  # which all networks have
KINDS: dict[str, Any] = {**MIXERS, **{kind.word: kind for kind in (STEM, FEED_FORWARD, HEAD)}}
