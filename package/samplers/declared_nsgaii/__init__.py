"""OptunaHub's form of autost-optuna's sampler: NSGA-II over a declared, finite space."""

from autost_optuna.search.sampler import DeclaredNSGAIISampler, SpaceExhausted

__all__ = ["DeclaredNSGAIISampler", "SpaceExhausted"]
