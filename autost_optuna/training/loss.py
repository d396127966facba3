"""The loss of a training, and its optimizer."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autost_optuna.training.recipe import TET, Recipe


def loss_of(logits: Tensor, targets: Tensor, recipe: Recipe) -> Tensor:
    """The loss [] of logits [B, classes], or [T, B, classes] for TET; targets are labels [B] or shares [B, classes].

    TET (Deng et al., ICLR 2022, arXiv 2202.11946): (1 - lambda) mean_t CE(o_t, y) + lambda mean_t MSE(o_t, 1).
    """
    if recipe.loss != TET:
        return F.cross_entropy(logits, targets, label_smoothing=recipe.label_smoothing)
    every = torch.cat([targets] * len(logits))
    entropy = F.cross_entropy(logits.flatten(0, 1), every, label_smoothing=recipe.label_smoothing)  # L_TET
    around_one = (logits - 1).square().mean()  # L_MSE, with phi = 1
    return (1 - recipe.tet_lambda) * entropy + recipe.tet_lambda * around_one  # L_TOTAL


def optimizer_of(network: nn.Module, recipe: Recipe) -> torch.optim.AdamW:
    """AdamW. Biases, normalisation and the neurons' scalars do not decay: decay would pull each tau to 2."""
    parameters = list(network.parameters())
    matrices, others = [p for p in parameters if p.dim() > 1], [p for p in parameters if p.dim() <= 1]
    groups = [{"params": matrices, "weight_decay": recipe.weight_decay}, {"params": others, "weight_decay": 0.0}]
    # Scaled gradients cannot be clipped with a fused optimizer, which unscales them itself.
    fused = not (recipe.precision == "16-mixed" and recipe.clip_norm)
    return torch.optim.AdamW(groups, lr=recipe.lr, fused=fused)
