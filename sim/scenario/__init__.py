"""Scenarios: what a fleet does and must reach, as a file; its run, its results (docs/fleet-scenarios.md)."""
