"""Whole devices in virtual time, on a network and a cloud in memory."""
