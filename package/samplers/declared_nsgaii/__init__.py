"""OptunaHub's form of autost-optuna's sampler: NSGA-II over a declared, finite space."""

from autost_optuna.sampler import DeclaredNSGAIISampler, SpaceExhausted

__all__ = ["DeclaredNSGAIISampler", "SpaceExhausted"]
