"""Measurements behind RESULTS.md; each file is a command that says how to run it."""
