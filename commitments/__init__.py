"""Pure cryptography: no input or output, no clock, no imports of ours."""
