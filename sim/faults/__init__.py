"""Faults that are put into a simulated board from outside, and what is expected of it then."""
