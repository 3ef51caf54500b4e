"""The trader's side."""
