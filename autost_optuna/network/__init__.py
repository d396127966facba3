"""What a network is and computes: architecture, task, parts, neurons, transformer. The one door to SpikingJelly."""

import logging

# torch warns on every machine without a GPU that Triton is missing; nothing here needs it.
logging.getLogger("torch._library.triton").setLevel(logging.ERROR)
