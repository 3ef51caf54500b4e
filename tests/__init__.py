"""Tests, vectors and benchmarks; mirrors the tree."""
