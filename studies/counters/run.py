"""Count one network with four tools: this package, SpikingJelly, syops and NeuroBench.

    python studies/counters/run.py --data-root DATA [--width 384] [--depth 4] [--images 4] [--seed 0]

The network is SpikingJelly's own Spikformer (T 4), with the weights that its code draws and the statistics of the batch, on
CIFAR-10 images. syops and NeuroBench are asked for if they can be imported:

    python -m pip install --no-deps --target TOOLS neurobench syops progress snntorch
    PYTHONPATH=TOOLS python studies/counters/run.py --data-root DATA

syops is the script that many repositories of spiking transformers copy: hooks on modules whose type it knows. It was written
for an older SpikingJelly, so the names that it imports are given to it here. Prices are those of the default convention. The
last line is one JSON object; results.json holds it.
"""

import argparse
import importlib.util
import io
import json
import sys
import types
from functools import partial
from pathlib import Path

import torch
from spikingjelly.activation_based import functional, neuron, surrogate
from spikingjelly.activation_based.model.spikformer import Spikformer
from spikingjelly.activation_based.op_counter.simple_energy import estimate_simple_energy
from torch import nn

from autost_optuna import Task, audit
from autost_optuna.data import Sample, rate_images
from autost_optuna.proxies.convention import CONVENTIONS, DEFAULT

HERE = Path(__file__).parent


def of_audit(network, x, convention=DEFAULT):
    found = audit(network, x, convention)
    return {
        "macs": sum(row.macs for row in found.rows if row.kind == "mac"),
        "accumulates": sum(row.accumulates for row in found.rows if row.kind == "ac"),
        "energy_mj": found.energy_mj,
    }


def of_spikingjelly(network, x):
    """Its own estimate for the whole batch, at its own prices, which are ours; without and with memory."""
    found = estimate_simple_energy(network, x)
    return {
        "macs": found.counts["mac"] / len(x),
        "accumulates": found.counts["ac"] / len(x),
        "energy_mj": found.energy_compute_pj * 1e-9 / len(x),
        "with_memory_mj": found.energy_total_pj * 1e-9 / len(x),
        "synops": found.counts["synop"] / len(x),
    }


def of_syops(network, x):
    """ACs and MACs of syops for one batch; it divides by the number of images."""
    old = types.ModuleType("spikingjelly.clock_driven.neuron")
    for name in ("IFNode", "LIFNode", "ParametricLIFNode"):
        setattr(old, name, getattr(neuron, name))
        setattr(old, f"MultiStep{name}", getattr(neuron, name))
    package = types.ModuleType("spikingjelly.clock_driven")
    package.neuron, package.surrogate, package.functional = old, surrogate, functional
    sys.modules |= {"spikingjelly.clock_driven": package, "spikingjelly.clock_driven.neuron": old}
    from syops.engine import get_syops_pytorch

    class Kept(nn.Module):
        """The network in its own mode: syops puts it into evaluation mode, in which it would be silent."""

        def __init__(self):
            super().__init__()
            self.inner = network

        def train(self, mode=True):
            return self

        def forward(self, images):
            return self.inner(images)

    counted, _ = get_syops_pytorch(
        Kept(), tuple(x.shape[1:]), dataloader=[(x, None)], print_per_layer_stat=False, ost=io.StringIO()
    )
    _, accumulates, macs, _ = (float(value) for value in counted)
    return {"macs": macs, "accumulates": accumulates, "energy_mj": price(macs, accumulates)}


def of_neurobench(network, x):
    from neurobench.metrics.workload import SynapticOperations
    from neurobench.models import NeuroBenchModel

    class Model(NeuroBenchModel):
        def __call__(self, batch):
            return network(batch)

        def __net__(self):
            return network

    model = Model()
    model.register_hooks()
    with torch.no_grad():
        model(x)
        functional.reset_net(network)
        found = SynapticOperations()(model, None, (x, None))
    model.cleanup_hooks()
    macs, accumulates = float(found["Effective_MACs"]), float(found["Effective_ACs"])
    return {"macs": macs, "accumulates": accumulates, "energy_mj": price(macs, accumulates)}


def price(macs, accumulates):
    return (DEFAULT.mac.pj * macs + DEFAULT.accumulate.pj * accumulates) * 1e-9


TOOLS = {
    "audit": of_audit,
    "integers-mac": partial(of_audit, convention=CONVENTIONS["integers-mac"]),
    "spikingjelly": of_spikingjelly,
    "syops": of_syops,
    "neurobench": of_neurobench,
}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--data-root", required=True)
    parser.add_argument("--width", type=int, default=384)
    parser.add_argument("--depth", type=int, default=4)
    parser.add_argument("--images", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    torch.manual_seed(given.seed)
    network = Spikformer(
        T=4,
        img_size_h=32,
        img_size_w=32,
        patch_size=4,
        num_classes=10,
        embed_dims=given.width,
        num_heads=8,
        depths=given.depth,
    ).train()
    functional.set_step_mode(network, "m")
    sample = Sample(data="cifar10", data_root=Path(given.data_root), images=given.images, seed=given.seed)
    x = rate_images(Task.preset("cifar10"), sample).images
    found = {}
    for name, count in TOOLS.items():
        if name in ("syops", "neurobench") and importlib.util.find_spec(name) is None:
            print(f"{name} is not installed")
            continue
        functional.reset_net(network)
        found[name] = count(network, x)
        functional.reset_net(network)
    settings = {name: value for name, value in vars(given).items() if name != "data_root"}
    result = {"tools": found, **settings, "torch": torch.__version__}
    (HERE / "results.json").write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
