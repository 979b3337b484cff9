"""The product beside the job queues a user might pick instead, in one run: `python -m benchmarks`."""
