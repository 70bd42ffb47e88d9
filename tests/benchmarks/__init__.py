"""What the server costs, beside what others cost: `python -m tests.benchmarks`."""
