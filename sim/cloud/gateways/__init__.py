"""The servers that devices connect their consoles to: Web Shell and Web Log (cloudsdk-protocol 4, 5)."""
