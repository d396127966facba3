"""The spiking neurons that are known by their libraries."""

from torch import nn

NEURONS = (  # where libraries keep their neurons, and how the classes' names begin; this package's are SpikingJelly's
    ("spikingjelly.activation_based.neuron", ""),
    ("spikingjelly.activation_based._neuron", ""),
    ("snntorch._neurons", ""),
    ("norse.torch.module", "SNN"),
)


def is_neuron(module: nn.Module) -> bool:
    """Whether a module is a spiking neuron of a library that is known."""
    kinds = [(base.__module__, base.__name__) for base in type(module).__mro__]
    return any(
        place.startswith(start) and name.startswith(word) and not name.startswith("NonSpiking")
        for place, name in kinds
        for start, word in NEURONS
    )


def takes_sequences(module: nn.Module) -> bool:
    """Whether the first dimension of what a known neuron reads is time."""
    if isinstance(mode := getattr(module, "step_mode", None), str):
        return mode == "m"
    names = {base.__name__ for base in type(module).__mro__ if base.__module__.startswith("norse.")}
    return bool(names) and not any(name.startswith("SNNCell") for name in names)


def count_weights(network: nn.Module) -> int:
    """The parameters of all modules but neurons, each once."""
    own = {id(one): one.numel() for one in network.parameters()}
    for module in network.modules():
        if is_neuron(module):
            for one in module.parameters():
                own.pop(id(one), None)
    return sum(own.values())
