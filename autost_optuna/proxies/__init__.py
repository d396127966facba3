"""Training-free proxies: exact FLOPs, energy from spike rates at initialisation, and scores."""
