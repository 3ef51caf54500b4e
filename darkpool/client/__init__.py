"""The trader's side: all it needs follows from the keystore, the venue's data and the chain."""
