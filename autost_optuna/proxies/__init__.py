"""Training-free proxies: FLOPs (exact), energy from spike rates at initialisation, and scores."""
