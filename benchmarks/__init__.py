"""What pytest-loadgen's figures are worth, beside those of other load generators: ``python -m benchmarks``."""
