"""Where in the code that runs an operation stands, and how it runs."""

import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from types import FrameType

import torch

MODULE = "torch.nn.modules.module"  # whose frames stand around each forward function


def uncompiled() -> AbstractContextManager[object]:
    """Within the context, compiled modules run as they were written, so that their operations are seen."""
    loaded = "torch._dynamo" in sys.modules  # else nothing is compiled, and loading it would take a second
    return torch.compiler.set_stance("force_eager") if loaded else nullcontext()


def place_of() -> tuple[tuple[int, ...], str]:
    """Where in the code of the innermost module an operation stands, as a key that a loop repeats, and as a line."""
    key: list[int] = []
    line = ""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        name = frame.f_globals.get("__name__", "")
        if name == MODULE and frame.f_code.co_name == "_call_impl":
            break
        if not name.startswith(("torch._", "torch.utils.", "autost_optuna.proxies.watch", __name__)):
            key += [id(frame.f_code), frame.f_lasti]
            if not line and name.partition(".")[0] != "torch":
                line = f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}"
        frame = frame.f_back
    return tuple(key), line


def caller() -> tuple[int, ...]:
    """Where the module whose hook asks was called, as a key that a loop repeats, up to the module that called it."""
    key: list[int] = []
    frame: FrameType | None = sys._getframe(2)
    while frame is not None and frame.f_globals.get("__name__") != MODULE:  # of the hook
        frame = frame.f_back
    while frame is not None and frame.f_globals.get("__name__") == MODULE:
        frame = frame.f_back
    while frame is not None and frame.f_globals.get("__name__") != MODULE:
        key += [id(frame.f_code), frame.f_lasti]
        frame = frame.f_back
    return tuple(key)
