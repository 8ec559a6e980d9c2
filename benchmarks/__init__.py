"""How accurate and fast pytest-loadgen is, compared with other load generators: ``python -m benchmarks``."""
