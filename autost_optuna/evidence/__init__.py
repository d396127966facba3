"""Evidence on how far to trust a proxy: tables of figures, rank statistics, verdicts."""
