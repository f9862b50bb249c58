"""Planted defects: mistakes that firmware engineers make, with which the laboratory proves what it finds."""
