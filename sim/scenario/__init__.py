"""Scenarios: what a fleet does and must reach, as a file; the run and its results (docs/fleet-scenarios.md)."""
