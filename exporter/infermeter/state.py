"""The state file: what was learnt and is worth keeping over a restart."""
