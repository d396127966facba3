"""Integer neurons: their spikes count as the binary steps that they stand for, in SpikingJelly's counter as in ours."""

import pytest
import torch
from spikingjelly.activation_based.op_counter import DispatchCounterMode, SynOpCounter

from autost_optuna import Architecture, SpikingTransformer, Task
from autost_optuna.network.chain import operations
from autost_optuna.network.layers import Product
from autost_optuna.network.rows import REAL
from autost_optuna.proxies.accumulates import measure_accumulates
from autost_optuna.proxies.convention import CONVENTIONS
from autost_optuna.proxies.proof import prove_ledger, watching
from autost_optuna.proxies.rates import batch_statistics
from autost_optuna.search.describe import describe

TASK = Task(name="digits", image_size=8, channels=1, num_classes=10, time_steps=2, pooling="0101")
CURRENTS = (
    "C=16,depth=4,mixer=ssa/sdsa/qkta/depthwise,heads=2/-/2/-,kernel=-/-/-/3,ratio=2,neuron=ilif(levels=3),stem=sdt"
)
SPIKES = "C=16,depth=2,mixer=qkca/dssa,heads=-/2,patch=-/2,ratio=2,neuron=ilif,stem=spikformer,residual=spike,ffn=gffn"


def steps_of(x, most):
    """Whole numbers as `most` binary values side by side in a new first dimension."""
    return torch.stack([(x > level).float() for level in range(most)])


def counted(module, inputs, most):
    """The accumulates that SpikingJelly counts where a layer reads the binary steps, one after another."""
    counter = SynOpCounter()
    with torch.no_grad(), DispatchCounterMode([counter]):
        if isinstance(module, Product):
            one, other = (
                list(steps_of(x, most)) if x.max() <= most and bool((x == x.round()).all()) else [x] for x in inputs
            )
            for left in one:
                for right in other:
                    module(left, right)
        else:
            for spikes in steps_of(inputs[0], most):
                module(spikes)
    return sum(counter.get_counts()["Global"].values())


@pytest.mark.parametrize("text", [CURRENTS, SPIKES], ids=["currents", "spikes"])
def test_accumulates_are_those_of_the_binary_steps(text):
    network = SpikingTransformer(Architecture.from_text(text), TASK)
    prove_ledger(network)
    images = torch.randn(3, *TASK.input_shape, generator=torch.Generator().manual_seed(0))
    driven = {row.name: row for row in operations(network.architecture, TASK) if row.driven_by != REAL}
    seen = {}
    with batch_statistics(network):
        with torch.no_grad(), watching(network, "", driven, lambda name, *read: seen.update({name: read})):
            network(images)
        ours = measure_accumulates(network, images)
    theirs = {name: counted(*read, driven[name].most) for name, read in seen.items()}
    assert theirs == {name: sum(counts[name] for counts in ours) for name in driven}
    assert any(row.most > row.levels for row in driven.values()) == ("residual=spike" in text)


def test_only_sums_of_several_neurons_are_multiplied_where_integers_are():
    architecture = Architecture.from_text(SPIKES)
    kinds = {}
    for name in ("horowitz-45nm-fp32", "integers-mac"):
        found = describe(architecture, TASK, convention=CONVENTIONS[name])
        kinds[name] = {charge.name: charge.kind for charge in found.charges if charge.driven_by != REAL}
    assert set(kinds["horowitz-45nm-fp32"].values()) == {"ac"}
    multiplied = {name for name, kind in kinds["integers-mac"].items() if kind == "mac"}
    rows = {row.name: row for row in operations(architecture, TASK)}
    assert multiplied == {name for name in kinds["integers-mac"] if rows[name].most > rows[name].levels} != set()
    assert found.quantised.activation_bits == 4  # 2 steps of 4 levels make 9 values
