"""The contracts, run in py-evm."""
