"""Benchmarks for asv (https://asv.readthedocs.io), and tables made of the same frames."""
