"""Training-free proxies: the ledger of operations, FLOPs (exact), and energy from spike rates at initialisation."""
