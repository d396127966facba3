"""Measure Spikingformer as its authors build it beside AutoST's form of the same sizes; write results.json.

    python studies/true_spikingformer/run.py --data-root DIR

DIR holds cifar-10-batches-py. Both networks see the same images, are measured at initialisation under batch statistics, and
are billed by the same rules and prices. It takes minutes.
"""

import argparse
import json
import os
import platform
import subprocess
import time
from dataclasses import replace
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from statistics import fmean

import torch
import torch.nn.functional as F
from spikingjelly.activation_based import functional
from spikingjelly.activation_based.neuron import LIFNode
from spikingjelly.activation_based.surrogate import Sigmoid
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from autost_optuna import Task
from autost_optuna.data import Sample, rate_images
from autost_optuna.network.chain import operations
from autost_optuna.network.layers import ChannelNorm, Product
from autost_optuna.network.rows import REAL
from autost_optuna.proxies.convention import DEFAULT
from autost_optuna.proxies.energy import estimate_energy, mean_by_operation, total_mj
from autost_optuna.proxies.flops import count_macs, count_params
from autost_optuna.proxies.proof import driving_input, watching
from autost_optuna.proxies.reuse import InitialRates
from autost_optuna.search.baselines import NETWORKS, in_autost_form

HERE = Path(__file__).parent
DATA, IMAGES, SEEDS = "cifar10", 4, 3


def lif(threshold=1.0):
    """The published neuron: no learnable parameter, tau 2, hard reset to 0."""
    return LIFNode(
        tau=2.0,
        decay_input=True,
        v_threshold=threshold,
        v_reset=0.0,
        surrogate_function=Sigmoid(alpha=4.0),
        detach_reset=True,
        step_mode="m",
    )


class Stem(nn.Module):
    """Five convolutions in a chain; each but the first reads spikes, which the task's pooling flags pool before it.

    `position` is the name that the ledger has for the fifth. Unlike AutoST's it reads spikes, and nothing skips it.
    """

    NAMES = ("conv1", "conv2", "conv3", "conv4", "position")

    def __init__(self, dim, task):
        super().__init__()
        widths = (task.channels, dim // 8, dim // 4, dim // 2, dim, dim)
        self.pooled = [name for name, flag in zip(self.NAMES[1:], task.pooling, strict=True) if flag == "1"]
        for name, (before, after) in zip(self.NAMES, pairwise(widths), strict=True):
            self.add_module(name, nn.Conv2d(before, after, 3, padding=1, bias=False))
            self.add_module(f"{name}_bn", nn.BatchNorm2d(after))
            self.add_module(f"{name}_neuron", nn.Identity() if name == "conv1" else lif())

    def forward(self, x):
        """[T, B, c, H, W] to [T, B, N, C]."""
        for name in self.NAMES:
            x = getattr(self, f"{name}_neuron")(x)
            steps, images = x.shape[:2]
            x = x.flatten(0, 1)
            if name in self.pooled:
                x = F.max_pool2d(x, 3, stride=2, padding=1)
            x = getattr(self, f"{name}_bn")(getattr(self, name)(x)).unflatten(0, (steps, images))
        return x.flatten(3).transpose(2, 3)


class Attention(nn.Module):
    """One neuron for q, k and v, none after the projection; q, k and v without bias."""

    def __init__(self, dim, heads):
        super().__init__()
        self.heads = heads
        self.neuron = lif()
        for name in "qkv":
            self.add_module(name, nn.Linear(dim, dim, bias=False))
            self.add_module(f"{name}_bn", ChannelNorm(dim))
            self.add_module(f"{name}_neuron", lif())
        self.qk, self.av = Product(driver=0), Product(driver=1)
        self.out_neuron = lif(threshold=0.5)
        self.proj, self.proj_bn = nn.Linear(dim, dim), ChannelNorm(dim)

    def forward(self, x):
        """[T, B, N, C] to [T, B, N, C]."""
        x = self.neuron(x)
        q, k, v = (self.spikes(name, x).unflatten(-1, (self.heads, -1)).transpose(2, 3) for name in "qkv")
        x = self.av(self.qk(q, k.transpose(-2, -1)) * 0.125, v)
        return self.proj_bn(self.proj(self.out_neuron(x.transpose(2, 3).flatten(-2))))

    def spikes(self, name, x):
        return getattr(self, f"{name}_neuron")(getattr(self, f"{name}_bn")(getattr(self, name)(x)))


class MLP(nn.Module):
    """neuron, linear, normalisation, twice."""

    def __init__(self, dim, hidden):
        super().__init__()
        self.neuron, self.fc1, self.fc1_bn = lif(), nn.Linear(dim, hidden), ChannelNorm(hidden)
        self.hidden_neuron, self.fc2, self.fc2_bn = lif(), nn.Linear(hidden, dim), ChannelNorm(dim)

    def forward(self, x):
        """[T, B, N, C] to [T, B, N, C]."""
        return self.fc2_bn(self.fc2(self.hidden_neuron(self.fc1_bn(self.fc1(self.neuron(x))))))


class Block(nn.Module):
    """Attention and MLP, each added to a real-valued stream; the published code also makes two LayerNorms, and uses neither."""

    def __init__(self, dim, heads, hidden):
        super().__init__()
        self.unused = nn.ModuleList([nn.LayerNorm(dim), nn.LayerNorm(dim)])
        self.attention, self.mlp = Attention(dim, heads), MLP(dim, hidden)

    def forward(self, x):
        """[T, B, N, C] to [T, B, N, C]."""
        x = x + self.attention(x)
        return x + self.mlp(x)


class Spikingformer(nn.Module):
    """Spikingformer (Zhou et al. 2023, arXiv 2304.11954) of the sizes of `architecture`, for still images.

    Linear weights are drawn with deviation 0.02, convolutions as torch does. A normalisation follows each but the head, so
    that neither scale nor bias matters at initialisation.
    """

    def __init__(self, architecture, task):
        super().__init__()
        dim = architecture.embed_dim
        self.time_steps = task.time_steps
        self.stem = Stem(dim, task)
        pairs = zip(architecture.num_heads, architecture.hidden_dims, strict=True)
        self.blocks = nn.Sequential(*(Block(dim, heads, hidden) for heads, hidden in pairs))
        self.head = nn.Linear(dim, task.num_classes)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, images):
        """[B, c, H, W] to logits [B, classes]; the image is shown at each of the T steps."""
        functional.reset_net(self)
        x = self.blocks(self.stem(images.expand(self.time_steps, *images.shape)))
        return self.head(x.mean((0, 2)))


def ledger(architecture, task):
    """AutoST's ledger of the same sizes, whose MACs are the same: here the last convolution of the stem reads spikes too."""
    rows = operations(architecture, task)
    return [replace(row, driven_by="stem.position_neuron") if row.name == "stem.position" else row for row in rows]


def bill(network, rows, images):
    """The charges of the network at initialisation on `images`; ValueError where what should be spikes has other values."""
    rates = {}

    def look(name, module, inputs):
        spikes = driving_input(module, inputs)
        if not ((spikes == 0) | (spikes == 1)).all():
            raise ValueError(f"{name} reads values other than 0 and 1")
        rates[name] = spikes.mean(dtype=torch.float64).item()

    with torch.no_grad(), watching(network.train(), "", [row.name for row in rows if row.driven_by != REAL], look):
        network(images)
    return estimate_energy(rows, rates, DEFAULT)


def counted(network, task):
    """Multiply-accumulates of one image over all steps, by torch's own counter."""
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        network.eval()(torch.zeros(1, *task.input_shape))
    return counter.get_total_flops() // 2


def parts(bills):
    """Energies in mJ, one bill a seed, and their mean by what is paid for."""

    def mean(chosen):
        return fmean(total_mj([charge for charge in charges if chosen(charge)]) for charges in bills)

    return {
        "energy_mj": mean(lambda charge: True),
        "energies_mj": [total_mj(charges) for charges in bills],
        "real_valued_mj": mean(lambda charge: charge.kind == "mac"),
        "attention_products_mj": mean(lambda charge: charge.group == "attention products"),
    }


def compare(name, root, seeds):
    """Both networks of the sizes of a published one, on the same images, with weights of `seeds` seeds."""
    published = NETWORKS[name]
    sizes, task = in_autost_form(published.architecture), Task.preset(published.task)
    drawn = rate_images(task, Sample(data=DATA, data_root=root, images=IMAGES))
    theirs, ours = [], []
    for seed in range(seeds):
        torch.manual_seed(seed)
        network = Spikingformer(sizes, task)
        theirs.append(bill(network, ledger(sizes, task), drawn.images))
        samples = InitialRates(task, drawn.images, seed=seed).measure(sizes)
        ours.append(estimate_energy(operations(sizes, task), mean_by_operation(samples)))
    params, unused = (
        sum(parameter.numel() for parameter in of.parameters())
        for of in (network, nn.ModuleList(block.unused for block in network.blocks))
    )
    as_published, autost_form = parts(theirs), parts(ours)
    return {
        "sizes": sizes.to_text(),
        "task": task.name,
        "images": IMAGES,
        "seeds": seeds,
        "fingerprint": drawn.fingerprint,
        "as_published": {"params": params, "unused_params": unused, "macs": counted(network, task), **as_published},
        "autost_form": {"params": count_params(sizes, task), "macs": count_macs(sizes, task), **autost_form},
        "ratio": autost_form["energy_mj"] / as_published["energy_mj"],
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data-root", type=Path, required=True, help="the folder that holds cifar-10-batches-py")
    root, start = parser.parse_args().data_root, time.perf_counter()
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=HERE, capture_output=True, text=True, check=True)
    results = {
        "convention": DEFAULT.label,
        "data": DATA,
        "networks": {
            name: compare(name, root, SEEDS if NETWORKS[name].task == "cifar10" else 1)
            for name in ("spikingformer-2-384", "spikingformer-4-384", "spikingformer-8-512")
        },
        "duration_s": time.perf_counter() - start,
        "versions": {"torch": torch.__version__, "spikingjelly": version("spikingjelly")},
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "commit": commit.stdout.strip(),
    }
    (HERE / "results.json").write_text(json.dumps(results, indent=2) + "\n")
    print(json.dumps({name: found["ratio"] for name, found in results["networks"].items()}))


if __name__ == "__main__":
    main()
