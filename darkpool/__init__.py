"""Sealed orders, encrypted books, rounds and settlement."""
