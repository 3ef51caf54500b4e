"""Plugins to start from; compliance/hooks.py says what a plugin may be asked."""
