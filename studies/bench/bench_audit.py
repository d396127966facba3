"""Time the audit of any network against a plain forward pass, and against SpikingJelly's estimate of its energy.

    python studies/bench/bench_audit.py [--rounds 5] [--batch 4] [--width 256] [--seed 0]

SpikingJelly's Spikformer (width C, two blocks, T 4) and our Spikingformer-2-C, at 32x32 on noise, with the statistics of the
batch. In each round one forward pass, one audit and one estimate, in turns; ratios of the same round, and their median. The
last line is one JSON object.
"""

import argparse
import json
import platform
import statistics
import time

import torch
from spikingjelly.activation_based import functional
from spikingjelly.activation_based.model.spikformer import Spikformer
from spikingjelly.activation_based.op_counter.simple_energy import estimate_simple_energy

from autost_optuna import Architecture, SpikingTransformer, Task, audit


def seconds(call, *arguments):
    start = time.perf_counter()
    result = call(*arguments)
    return time.perf_counter() - start, result


def timed(network, x, rounds):
    def plain():
        functional.reset_net(network)
        with torch.no_grad():
            network(x)
        functional.reset_net(network)

    plain()
    rows = []
    for _ in range(rounds):
        forward, _ = seconds(plain)
        ours, found = seconds(audit, network, x)
        functional.reset_net(network)
        theirs, _ = seconds(estimate_simple_energy, network, x)
        functional.reset_net(network)
        rows.append((forward, ours, theirs))
    return {
        "forward_s": round(statistics.median(row[0] for row in rows), 3),
        "audit_per_forward": round(statistics.median(ours / forward for forward, ours, _ in rows), 2),
        "estimate_per_forward": round(statistics.median(theirs / forward for forward, _, theirs in rows), 2),
        "energy_mj": found.energy_mj,
        "rows": len(found.rows),
    }


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    torch.manual_seed(given.seed)
    torch.set_num_threads(1)
    x = torch.randn(given.batch, 3, 32, 32)
    theirs = Spikformer(
        T=4, img_size_h=32, img_size_w=32, patch_size=4, num_classes=10, embed_dims=given.width, num_heads=8, depths=2
    )
    functional.set_step_mode(theirs, "m")
    ours = SpikingTransformer(
        Architecture(embed_dim=given.width, depth=2, num_heads=(8, 8), mlp_ratio=(4, 4)),
        Task.preset("cifar10"),
        seed=given.seed,
    )
    found = {
        "spikformer": timed(theirs.train(), x, given.rounds),
        "autost": timed(ours.train(), x, given.rounds),
        "torch": torch.__version__,
        "machine": platform.machine(),
        "threads": 1,
        **vars(given),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
