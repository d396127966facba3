"""Time training by `train` against a plain SpikingJelly loop of the same network.

    python studies/bench/bench_train.py [--task cifar10] [--embed-dim 192] [--depth 4] [--batch-size 64] [--images 640]
                                        [--precision 32-true] [--device cpu] [--compile] [--rounds 3] [--seed 0] [-o FILE]

Both start from the same weights and see the same images (random pixels, in memory), in float32 unless --precision gives ours
another; the loop is built here of SpikingJelly's layers and neurons, eager, with torch's AdamW, and before anything is timed
both must give equal logits. Each measurement is a process of its own that trains two epochs, of which the second is timed.
In a round each is measured once; ratios are taken within a round, and the median over rounds is given with the least and
the most. Peak memory is that of the process, on a GPU that of its tensors. The last line is one JSON object.
"""

import argparse
import importlib.metadata
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from spikingjelly.activation_based import functional, layer, neuron, surrogate
from torch import nn

from autost_optuna.data import Dataset, Normalisation, Split, fit
from autost_optuna.network.architecture import Architecture
from autost_optuna.network.task import Task
from autost_optuna.network.transformer import SpikingTransformer
from autost_optuna.training.resume import Assignment
from autost_optuna.training.trainer import TrainOptions

EPOCHS = 2
HELD = 32  # images of the validation split, and of the test set
CONTENDERS = ("plain", "ours")


def plif(v_threshold=1.0):
    return neuron.ParametricLIFNode(
        init_tau=2.0,
        decay_input=True,
        v_threshold=v_threshold,
        v_reset=0.0,
        surrogate_function=surrogate.Sigmoid(alpha=4.0),
        detach_reset=True,
        step_mode="m",
    )


def conv(channels_in, channels_out):
    return layer.Conv2d(channels_in, channels_out, 3, padding=1, bias=False, step_mode="m")


def normed(bn, x):
    """[T, B, N, C] normalised over all but C."""
    return bn(x.flatten(1, 2)).view_as(x)


class PlainStem(nn.Module):
    def __init__(self, dim, task):
        super().__init__()
        widths = (task.channels, dim // 8, dim // 4, dim // 2, dim)
        self.time_steps = task.time_steps
        for i in range(1, 5):
            self.add_module(f"conv{i}", conv(widths[i - 1], widths[i]))
            self.add_module(f"bn{i}", layer.BatchNorm2d(widths[i], step_mode="m"))
            self.add_module(f"neuron{i}", plif() if i < 4 else nn.Identity())
            pool = layer.MaxPool2d(3, stride=2, padding=1, step_mode="m")
            self.add_module(f"pool{i}", pool if task.pooling[i - 1] == "1" else nn.Identity())
        self.position = conv(dim, dim)
        self.position_bn = layer.BatchNorm2d(dim, step_mode="m")

    def forward(self, images):
        x = images.unsqueeze(0).repeat(self.time_steps, 1, 1, 1, 1)
        for i in range(1, 5):
            for name in ("conv", "bn", "neuron", "pool"):
                x = self.get_submodule(f"{name}{i}")(x)
        x = x + self.position_bn(self.position(x))
        return x.flatten(3).transpose(2, 3).contiguous()


class PlainAttention(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.heads = heads
        self.neuron = plif()
        for name in ("q", "k", "v", "proj"):
            self.add_module(name, layer.Linear(dim, dim, step_mode="m"))
            self.add_module(f"{name}_bn", layer.BatchNorm1d(dim, step_mode="m"))
        self.q_neuron, self.k_neuron, self.v_neuron = plif(), plif(), plif()
        self.out_neuron = plif(0.5)

    def forward(self, x):
        s = self.neuron(x)
        q, k, v = (
            spikes.view(*x.shape[:-1], self.heads, -1).transpose(2, 3)
            for spikes in (
                self.q_neuron(normed(self.q_bn, self.q(s))),
                self.k_neuron(normed(self.k_bn, self.k(s))),
                self.v_neuron(normed(self.v_bn, self.v(s))),
            )
        )
        out = ((q @ k.transpose(-2, -1)) * 0.125) @ v
        return normed(self.proj_bn, self.proj(self.out_neuron(out.transpose(2, 3).flatten(-2))))


class PlainMLP(nn.Module):
    def __init__(self, dim, hidden):
        super().__init__()
        self.neuron, self.hidden_neuron = plif(), plif()
        self.fc1, self.fc2 = layer.Linear(dim, hidden, step_mode="m"), layer.Linear(hidden, dim, step_mode="m")
        self.fc1_bn = layer.BatchNorm1d(hidden, step_mode="m")
        self.fc2_bn = layer.BatchNorm1d(dim, step_mode="m")

    def forward(self, x):
        hidden = self.hidden_neuron(normed(self.fc1_bn, self.fc1(self.neuron(x))))
        return normed(self.fc2_bn, self.fc2(hidden))


class PlainBlock(nn.Module):
    def __init__(self, dim, heads, hidden):
        super().__init__()
        self.attention = PlainAttention(dim, heads)
        self.mlp = PlainMLP(dim, hidden)

    def forward(self, x):
        x = x + self.attention(x)
        return x + self.mlp(x)


class Plain(nn.Module):
    """The same layers by the same names, so that it takes our weights as they are."""

    def __init__(self, architecture, task):
        super().__init__()
        dim = architecture.embed_dim
        self.stem = PlainStem(dim, task)
        sizes = zip(architecture.num_heads, architecture.hidden_dims, strict=True)
        self.blocks = nn.Sequential(*(PlainBlock(dim, heads, hidden) for heads, hidden in sizes))
        self.head = nn.Linear(dim, task.num_classes)

    def forward(self, images):
        return self.head(self.blocks(self.stem(images)).mean((0, 2)))


def plain_of(network):
    plain = Plain(network.architecture, network.task)
    plain.load_state_dict(network.state_dict())
    return plain


def check_equal(architecture, task, seed):
    """Both give the same logits and gradients, in float32 on the CPU."""
    network = SpikingTransformer(architecture, task, seed=seed).train()
    plain = plain_of(network).train()
    images = torch.randn(4, *task.input_shape, generator=torch.Generator().manual_seed(seed))
    ours, theirs = network(images), plain(images)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4)
    for logits in (ours, theirs):
        logits.square().sum().backward()
    largest = max(parameter.grad.abs().max().item() for parameter in plain.parameters())
    for name, parameter in network.named_parameters():
        expected = plain.get_parameter(name).grad
        atol = 1e-5 * largest + 1e-3 * expected.abs().max().item()  # biases before a normalisation have only noise
        torch.testing.assert_close(parameter.grad, expected, rtol=0, atol=atol, msg=f"gradients of {name} differ")


def dataset_of(task, images, seed):
    generator = np.random.default_rng(seed)

    def split(count):
        shape = (count, task.channels, task.image_size, task.image_size)
        labels = generator.integers(task.num_classes, size=count)
        return Split(images=generator.integers(256, size=shape, dtype=np.uint8), labels=labels)

    train, test = split(images + HELD), split(HELD)
    normalisation = Normalisation(scale=255.0, mean=(0.5,) * task.channels, std=(0.25,) * task.channels)
    return Dataset(name="bench", train=train, test=test, num_classes=task.num_classes, normalisation=normalisation)


def train_plain(architecture, task, dataset, options):
    """Images a second of the last epoch of a straightforward loop."""
    device = torch.device(options.device)
    network = plain_of(SpikingTransformer(architecture, task, seed=options.seed)).to(device).train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=0.06)
    images = fit(dataset.train.images[: options.images], dataset.normalisation, task)
    labels = torch.from_numpy(dataset.train.labels[: options.images])
    for _ in range(EPOCHS):
        start = time.monotonic()
        for chosen in torch.randperm(options.images).split(options.batch_size):
            optimizer.zero_grad()
            logits = network(images[chosen].to(device))
            F.cross_entropy(logits, labels[chosen].to(device), label_smoothing=0.1).backward()
            optimizer.step()
            functional.reset_net(network)
        if device.type == "cuda":
            torch.cuda.synchronize()
        took = time.monotonic() - start
    return options.images / took


def train_ours(architecture, task, dataset, options):
    """Images a second of the last epoch of this project's training."""
    from autost_optuna.training.recipe import Recipe
    from autost_optuna.training.trainer import train

    recipe = Recipe(
        epochs=EPOCHS,
        batch_size=options.batch_size,
        precision=options.precision,
        validation_share=HELD / (options.images + HELD),
        seed=options.seed,
    )
    with tempfile.TemporaryDirectory() as folder:
        trained = train(
            Assignment(architecture, task, dataset, recipe),
            Path(folder),
            options=TrainOptions(accelerator=options.device, fuse=options.compile),
        )
    return trained.log[-1].images_per_s


def measure(contender, architecture, task, options):
    dataset = dataset_of(task, options.images, options.seed)
    train = train_ours if contender == "ours" else train_plain
    images_per_s = train(architecture, task, dataset, options)
    if options.device == "cuda":
        peak = torch.cuda.max_memory_allocated()
    else:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # kilobytes on Linux
    return {"images_per_s": images_per_s, "peak_bytes": peak}


def median(values):
    values = list(values)
    return {"median": statistics.median(values), "least": min(values), "most": max(values)}


def machine(device):
    kind = torch.cuda.get_device_name() if device == "cuda" else platform.processor() or platform.machine()
    return {"device": device, "kind": kind, "cores": os.cpu_count(), "threads": torch.get_num_threads()}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--task", default="cifar10")
    parser.add_argument("--embed-dim", type=int, default=192)
    parser.add_argument("--depth", type=int, default=4)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--images", type=int, default=640)
    parser.add_argument("--precision", default="32-true")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--compile", action="store_true", help="ours with torch.compile")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--output", type=Path)
    parser.add_argument("--contender", choices=CONTENDERS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    architecture = Architecture.uniform(embed_dim=options.embed_dim, depth=options.depth, num_heads=8, mlp_ratio=4)
    task = Task.preset(options.task)
    if options.contender:
        print(json.dumps(measure(options.contender, architecture, task, options)))
        return
    check_equal(architecture, task, options.seed)
    rounds = []
    environment = {"GOMP_SPINCOUNT": "10000", **os.environ}  # as the command line sets it
    for number in range(options.rounds):
        found = {}
        for contender in CONTENDERS[:: 1 if number % 2 else -1]:  # either goes first in turn
            command = [sys.executable, __file__, *sys.argv[1:], "--contender", contender]
            run = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
            found[contender] = json.loads(run.stdout.splitlines()[-1])
        rounds.append(found)
        print(f"round {number}: {found}", file=sys.stderr, flush=True)
    result = {
        "benchmark": "train",
        "command": " ".join(["python", "studies/bench/bench_train.py", *sys.argv[1:]]),
        "network": {"task": task.name, "architecture": architecture.to_dict()},
        "batch_size": options.batch_size,
        "images": options.images,
        "precision": {"plain": "32-true", "ours": options.precision},
        "compile": options.compile,
        "rounds": options.rounds,
        "images_per_s": {name: median(found[name]["images_per_s"] for found in rounds) for name in CONTENDERS},
        "ratio": median(found["ours"]["images_per_s"] / found["plain"]["images_per_s"] for found in rounds),
        "peak_bytes": {name: max(found[name]["peak_bytes"] for found in rounds) for name in CONTENDERS},
        "machine": machine(options.device),
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "spikingjelly": importlib.metadata.version("spikingjelly"),
        },
        "seed": options.seed,
    }
    line = json.dumps(result)
    if options.output:
        options.output.write_text(line + "\n")
    print(line)


if __name__ == "__main__":
    main()
