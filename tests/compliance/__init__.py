"""Tests of the package compliance."""
