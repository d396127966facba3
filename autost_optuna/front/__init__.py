"""Comparison of candidates: dominance, fronts, picks, health, convergence."""

from autost_optuna.moved import Forward

__getattr__ = Forward(__name__)
