"""Search spaces: what may be chosen."""

from autost_optuna.moved import Forward

__getattr__ = Forward(__name__)
