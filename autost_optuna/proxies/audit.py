"""The energy of any spiking network, from the operations that it carries out."""

from typing import Any

import torch
from torch import Tensor, nn

from autost_optuna.proxies.audited import Audit
from autost_optuna.proxies.charges import check_convention, price
from autost_optuna.proxies.convention import DEFAULT, Convention
from autost_optuna.proxies.pages import keep_pages
from autost_optuna.proxies.watch import Watch


def audit(
    network: nn.Module,
    inputs: Tensor | tuple[Any, ...],
    convention: Convention = DEFAULT,
    *,
    images: int | None = None,
    steps: int | None = None,
) -> Audit:
    """Run `network(*inputs)` once as it is, without gradients, and charge every product of matrices and convolution.

    An operand drives an operation if it depends on the input and all its values in the whole run are 0 or 1, or, if there is
    no such operand, whole numbers up to 127. Weights never do. Values that are all 0, or all 1, count as spikes only if a
    known spiking neuron sent them: SpikingJelly's, snnTorch's, Norse's or this package's. `images` is the size of the batch, by
    default the first dimension of the first input; give it if that is time. `steps` are the time steps, by default those that
    the neurons took. Neurons of SpikingJelly and snnTorch that keep their state are reset before and after; reset others
    yourself.

    ValueError if the convention charges layers or a still image once, which no operation shows, or charges or limits neurons
    and steps that are not known, or if the network does not keep its limits; RuntimeError names an operation that no rule
    counts, and its module.
    """
    given = (inputs,) if isinstance(inputs, Tensor) else inputs
    if not isinstance(given, tuple) or not given:
        raise ValueError(
            f"inputs are {type(inputs).__name__}, not a tensor or a tuple of what forward takes; give these"
        )
    first = given[0]
    if images is None and not (isinstance(first, Tensor) and first.dim() and len(first)):
        raise ValueError("the first input is no batch; give images, the number of inputs in it")
    for name, value in (("images", images), ("steps", steps)):
        if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
            raise ValueError(f"{name} {value!r} is not a positive whole number; give one, or leave it out")
    if not isinstance(convention, Convention):
        raise ValueError(f"convention {convention!r} is none; give Convention.load('NAME or FILE.toml')")
    check_convention(convention)
    return price(run_watched(network, given, convention), convention, len(first) if images is None else images, steps)


def run_watched(network: nn.Module, inputs: tuple[Any, ...], *conventions: Convention) -> Watch:
    """All operations of one run of a network, between two resets, with what these conventions charge."""
    if isinstance(network, torch.jit.ScriptModule):
        raise ValueError("a network of TorchScript cannot be watched; audit the one that it was made from")
    if isinstance(network, nn.DataParallel | nn.parallel.DistributedDataParallel):
        raise ValueError(f"{type(network).__name__} runs elsewhere; audit network.module")
    keep_pages()
    _reset(network)
    watch = Watch(network, sums=any(one.activation_bit is not None for one in conventions))
    try:
        with torch.no_grad():
            watch.run(*inputs)
    finally:
        _reset(network)
    return watch


def _reset(network: nn.Module) -> None:
    """Reset neurons that keep their state from one call to the next."""
    for module in network.modules():
        libraries = {base.__module__.partition(".")[0] for base in type(module).__mro__}
        for library, method in (("spikingjelly", "reset"), ("snntorch", "reset_mem")):
            reset: Any = getattr(module, method, None)
            if library in libraries and reset is not None:
                reset()
