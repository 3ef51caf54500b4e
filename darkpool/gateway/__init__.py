"""The trader's gateway: a plain REST service on the trader's own machine, which seals orders here."""
