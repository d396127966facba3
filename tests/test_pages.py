import subprocess
import sys

import pytest

from autost_optuna.proxies.pages import _glibc

STEPS = """
import resource
import sys
import threading
from contextlib import nullcontext

import torch

from autost_optuna.proxies.pages import keeping_all_pages


def step():
    return torch.ones(16 << 20).sum().item()  # 64 MiB


def faults():
    counts = [resource.getrusage(resource.RUSAGE_SELF).ru_minflt]
    for _ in range(10):
        step()
        counts.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
    return sorted(b - a for a, b in zip(counts, counts[1:]))[5]


def held():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize()


before = faults()
with keeping_all_pages():
    step()
    within = faults()
    kept = held()
    sums = []
    thread = threading.Thread(target=lambda: sums.append(step()))
    thread.start()
    thread.join()
    assert sums == [16 << 20]
after = held()
print(before, within, kept - after)
"""


@pytest.mark.skipif(_glibc() is None, reason="the C library is not glibc")
@pytest.mark.slow
@pytest.mark.process
def test_freed_memory_is_kept_within_the_context_and_given_back_after_it():
    run = subprocess.run([sys.executable, "-c", STEPS], check=True, capture_output=True, text=True)
    before, within, given_back = map(int, run.stdout.split())
    assert before >= 32  # of 64 MiB, though the system's pages be of 2 MiB
    assert within < before / 10
    assert given_back > 48 << 20
