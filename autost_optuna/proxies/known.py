"""The spiking neurons that are known by their libraries."""

from torch import Tensor, nn

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


def is_ours(network: nn.Module) -> bool:
    """Whether a network is a SpikingTransformer, without importing what that needs."""
    return any(base.__module__ == "autost_optuna.network.transformer" for base in type(network).__mro__)


def steps_in(module: nn.Module, sent: Tensor) -> int:
    """The time steps of one call of a known neuron, which `sent` these values: 1 unless its first dimension is time."""
    mode, first = getattr(module, "step_mode", None), len(sent) if sent.dim() else 0
    kinds = [(base.__module__.partition(".")[0], base.__name__) for base in type(module).__mro__]
    norse = [name for library, name in kinds if library == "norse"]
    sequence = (
        mode == "m"
        or (mode is None and getattr(module, "T", None) == first)  # SpikingJelly's PSN and the like
        or (bool(norse) and not any(name.startswith("SNNCell") for name in norse))
        or any(library == "snntorch" and name.endswith("Parallel") for library, name in kinds)
    )
    return first if sequence and first else 1


def count_weights(network: nn.Module) -> int:
    """The parameters of all modules but neurons, each once."""
    own = {id(one): one.numel() for one in network.parameters()}
    for module in network.modules():
        if is_neuron(module):
            for one in module.parameters():
                own.pop(id(one), None)
    return sum(own.values())
