"""The user's policy file, read strictly into the `Policy` that the core obeys."""
