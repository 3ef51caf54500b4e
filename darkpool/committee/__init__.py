"""The members who hold the key shares, and what they compute together."""
