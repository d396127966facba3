"""Networks that other code makes: the network behind a name, its weights from a file, and inputs to run it on."""

import importlib
import importlib.util
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from autost_optuna.data import Sample, rate_images
from autost_optuna.network.task import Task
from autost_optuna.proxies.audit import run_watched
from autost_optuna.proxies.audited import Audit
from autost_optuna.proxies.charges import check_convention, price
from autost_optuna.proxies.convention import Convention
from autost_optuna.proxies.products import Uncounted
from autost_optuna.units import StrPath, one_line

HOLDERS = ("state_dict", "model_state_dict", "model", "network", "net")  # where checkpoints keep the weights


def make_network(source: str) -> nn.Module:
    """The network that `package.module:name` or `FILE.py:name` is, or that it returns if called without arguments.

    This runs the code. ValueError says what is wrong with the name, the code or what it returns.
    """
    place, _, name = source.rpartition(":")
    if not place or not name.isidentifier():
        raise ValueError(f"network {source!r} names no function; write package.module:make or FILE.py:make")
    try:
        module = _of_file(Path(place)) if place.endswith(".py") else _of_package(place)
    except Exception as error:
        raise ValueError(
            f"{place} cannot be imported ({one_line(str(error))}); run the command beside your code"
        ) from error
    if not hasattr(module, name):
        raise ValueError(f"{place} has no {name}; name a function or a network that it defines")
    made = getattr(module, name)
    if not isinstance(made, nn.Module):
        try:
            made = made()
        except Exception as error:
            raise ValueError(
                f"{source} cannot be called ({one_line(str(error))}); it has to work without arguments"
            ) from error
    if not isinstance(made, nn.Module):
        raise ValueError(f"{source} returns {type(made).__name__}, no torch.nn.Module; return the network")
    return made


def _of_package(name: str) -> Any:
    with _beside("."):
        return importlib.import_module(name)


def _of_file(path: Path) -> Any:
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with _beside(path.parent):
        spec.loader.exec_module(module)
    return module


@contextmanager
def _beside(folder: StrPath) -> Iterator[None]:
    """Within the context, modules in a folder can be imported."""
    sys.path.insert(0, str(Path(folder).resolve()))
    try:
        yield
    finally:
        sys.path.pop(0)


def load_weights(network: nn.Module, path: Path) -> None:
    """Load weights from .safetensors, or from .pt or .pth without running code in it. ValueError if they do not fit."""
    held = _held_in(path, "no plain weights", "save network.state_dict() by torch.save or safetensors")
    while (
        isinstance(held, Mapping) and (inner := next((held[key] for key in HOLDERS if key in held), None)) is not None
    ):
        held = inner
    if not isinstance(held, Mapping) or not all(isinstance(value, Tensor) for value in held.values()):
        raise ValueError(f"{path} holds no weights by name; save network.state_dict()")
    weights = {str(name).removeprefix("module."): value for name, value in held.items()}
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        raise ValueError(f"the weights in {path} are of another network ({one_line(str(error))[:200]})") from None


def prepare_network(network: nn.Module, *, trained: bool) -> None:
    """Put a network into evaluation mode; an untrained one normalises by the statistics of the batch, so that it fires."""
    network.eval()
    for module in network.modules():
        if not trained and isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.train()


def shape_of(text: str) -> tuple[int, ...]:
    """The sizes in "3x32x32". ValueError if the text has another form."""
    parts = text.lower().replace("*", "x").split("x")
    if not all(part.strip().isdecimal() and int(part) > 0 for part in parts):
        raise ValueError(f"input {text!r} is not a shape; write channels, height and width such as 3x32x32")
    return tuple(int(part) for part in parts)


def inputs_of(shape: tuple[int, ...], data: str | None, sample: Sample) -> Tensor:
    """Inputs [B, *shape]: of a data set, from FILE.npy or FILE.pt, or standard normal noise. ValueError if they do not fit."""
    count = sample.images
    if data is None:
        return torch.randn(count, *shape, generator=torch.Generator().manual_seed(sample.seed))
    if data.endswith((".npy", ".pt", ".pth")):
        found = _array(Path(data))
        if tuple(found.shape[1:]) != shape or len(found) < count:
            raise ValueError(
                f"{data} holds {tuple(found.shape)}, not at least {count} inputs of {'x'.join(map(str, shape))}; "
                "give their shape as --input, or fewer --images"
            )
        return found[:count].float()
    if len(shape) != 3 or shape[1] != shape[2]:
        raise ValueError(f"images of {data} have no shape {'x'.join(map(str, shape))}; give --input such as 3x32x32")
    task = Task(name=data, image_size=shape[1], channels=shape[0], num_classes=10, time_steps=1, pooling="0000")
    return rate_images(task, sample).images


def _array(path: Path) -> Tensor:
    found = _held_in(path, "no array", "save it by numpy.save or torch.save")
    if not isinstance(found, Tensor):
        raise ValueError(f"{path} holds {type(found).__name__}, no tensor; save the inputs alone")
    return found


def _held_in(path: Path, lack: str, remedy: str) -> Any:
    """What a file holds, read without running code in it. ValueError if it holds `lack`, with the `remedy`."""
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        if path.suffix == ".npy":
            import numpy as np

            return torch.as_tensor(np.load(path, allow_pickle=False))
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise ValueError(f"there is no file {path}; {remedy}") from None
    except Exception as error:
        raise ValueError(f"{path} holds {lack} ({one_line(str(error))}); {remedy}") from error


def steady_audits(
    source: str, network: nn.Module, inputs: Tensor, prices: Sequence[Convention], images: int, steps: int | None = None
) -> list[Audit]:
    """The audits of a network called `source`, by convention. ValueError if it does not run, or a second run differs.

    `steps` are the time steps, by default those that its neurons took.
    """
    for convention in prices:
        check_convention(convention)
    try:
        first, second = (run_watched(network, (inputs,), *prices) for _ in range(2))
    except Uncounted:
        raise
    except Exception as error:
        said = f"{source} does not run on inputs {tuple(inputs.shape)} ({one_line(str(error))[:200]})"
        raise ValueError(f"{said}; try another --input or --steps") from error
    if [*first.rows.values()] != [*second.rows.values()]:
        raise ValueError(
            f"a second run of {source} differs from the first: it keeps a state or draws numbers; reset it in forward"
        )
    return [price(second, convention, images, steps) for convention in prices]
