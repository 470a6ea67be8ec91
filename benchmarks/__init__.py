"""Measurements that anyone can repeat: ``python -m benchmarks.train_step`` and its neighbours."""
