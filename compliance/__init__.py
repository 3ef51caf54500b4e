"""Screening, view keys, disclosure and the audit log."""
