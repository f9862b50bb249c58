"""The console of the device, and the two that reach it from the cloud: Web Shell and Web Log."""
