"""Durable storage: the log every party folds, the operator's read model of it, the members' own records."""
