"""The sentences about an energy for the methods section of a paper: what is charged, from which source, and what is not."""

from importlib.metadata import version

from autost_optuna.proxies.convention import MAC, ONCE, Convention
from autost_optuna.proxies.limits import said
from autost_optuna.proxies.prices import Cost, Memory

BY_RATES = "An operation's accumulates are the mean spike rate of its input times its multiply-accumulates."
ONE_BY_ONE = (
    "Accumulates are counted one by one: a spike at the border of a convolution reaches fewer outputs, and of a product of two "
    "spike trains only spikes that coincide count."
)


def charged(convention: Convention) -> list[tuple[str, str]]:
    """What a convention charges, in words, each with its source."""
    events: list[tuple[Cost | None, str]] = [
        (convention.mac, "each multiply-accumulate of a real value"),
        (convention.accumulate, "each accumulate that a spike causes"),
        (convention.integer_accumulate, "each accumulate of an operation that reads numbers above 1"),
        (convention.neuron_update, "each neuron and time step"),
        (convention.spike, "each spike that is sent to an operation"),
        (convention.layer, "each operation and time step"),
        (convention.step, "each time step"),
    ]
    found = [(f"{cost.pj:g} pJ for {event}", cost.source) for cost, event in events if cost is not None and cost.pj]
    moved: list[tuple[Memory | None, str, int]] = [
        (convention.weights, "weights", convention.weight_bits),
        (convention.states, "neuron states", convention.state_bits),
        (convention.activation_bit, "activations", convention.activation_bits),
    ]
    for memory, noun, bits in moved:
        if memory is not None and (memory.pj or memory.beyond):
            text = f"{memory.pj:g} pJ for each bit of {noun} that is moved ({bits} bits per value)"
            if memory.beyond is not None:
                text += f", or {memory.beyond.pj:g} pJ ({memory.beyond.source}) for what {memory.fits_kib:g} KiB do not hold"
            found.append((text, memory.source))
    if convention.idle_mw is not None:
        text = f"{convention.idle_mw.value:g} mW of idle power during an inference at {_pace(convention)}"
        found.append((text, convention.idle_mw.source))
    return found


def _pace(convention: Convention) -> str:
    """What gives the latency of an inference, with its source."""
    time = convention.step_us or convention.macs_per_s
    assert time is not None
    how = "µs per time step" if convention.step_us else "multiply-accumulates per second"
    return f"{time.value:,.12g} {how} ({time.source})"


def ignored(convention: Convention) -> list[str]:
    """What a convention does not charge."""
    found = ["normalisation, which is folded into weights", "pooling", "residual additions", "biases"]
    if not convention.weights.pj:
        found.append("moving weights")
    if not convention.states.pj:
        found.append("reading and writing the states of neurons")
    if not convention.neuron_update.pj:
        found.append("updates of neurons")
    if convention.activation_bit is None or not (convention.activation_bit.pj or convention.activation_bit.beyond):
        found.append("moving activations" if convention.spike.pj else "moving activations and spikes")
    if not (convention.step_pj or convention.pj_per_mac):
        found.append("static power")
    return found


def methods(convention: Convention, counting: str, spikes: str) -> str:
    """The sentences for a paper: `counting` says how accumulates are counted, `spikes` whose spikes they are."""
    prices = "; ".join(f"{text} [{source}]" for text, source in charged(convention))
    sums = "multiply-accumulates of real values" if convention.integers == MAC else "that many accumulates"
    still = "once" if convention.first_convolution == ONCE else "at every time step"
    *others, last = ignored(convention)
    latency = f" The latency is that of {_pace(convention)}." if convention.timed and convention.idle_mw is None else ""
    kept = convention.limits
    fits = "" if kept is None else f" The network keeps the limits of {said(kept)} ({kept.source})."
    return (
        f"The energy of one inference is estimated with autost-optuna {version('autost-optuna')} under the convention "
        f"{convention.label}. It charges {prices}. {counting} Sums of several neurons' spikes are charged as {sums}. A "
        f"convolution of a still image is charged {still}. Spikes are those of {spikes}. It does not charge "
        f"separately for {', '.join(others)} and {last}.{latency}{fits}"
    )
