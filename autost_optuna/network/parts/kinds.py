"""The kinds of part, by their words. A new kind is two files and one word here."""

from typing import Any

from autost_optuna.network.parts.depthwise import Depthwise
from autost_optuna.network.parts.dssa import DSSA
from autost_optuna.network.parts.embedding import Embedding
from autost_optuna.network.parts.gffn import GroupedFFN
from autost_optuna.network.parts.head import LinearHead, SpikeHead, StepHead
from autost_optuna.network.parts.identity import Identity
from autost_optuna.network.parts.mlp import MLP
from autost_optuna.network.parts.qk import ChannelQK, TokenQK
from autost_optuna.network.parts.sdsa import SDSA, PooledSDSA
from autost_optuna.network.parts.ssa import SSA
from autost_optuna.network.parts.stem import AutoSTStem

MIXERS: dict[str, Any] = {
    kind.word: kind for kind in (SSA, Depthwise, Identity, SDSA, PooledSDSA, TokenQK, ChannelQK, DSSA)
}
USUAL_MIXER = SSA.word  # that of AutoST's form, which no text and no file needs to name
FEED_FORWARDS: dict[str, Any] = {kind.word: kind for kind in (MLP, GroupedFFN)}
STEMS: dict[str, Any] = {kind.word: kind for kind in (AutoSTStem, Embedding)}
HEADS: dict[str, Any] = {kind.word: kind for kind in (LinearHead, StepHead, SpikeHead)}
KINDS: dict[str, Any] = {**MIXERS, **STEMS, **FEED_FORWARDS, **HEADS}
