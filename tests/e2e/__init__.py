"""Whole venues as their users have them: real processes, real sockets, a real chain."""
