"""Storage of studies: files, databases, artifacts, copies."""

from autost_optuna.moved import Forward

__getattr__ = Forward(__name__)
