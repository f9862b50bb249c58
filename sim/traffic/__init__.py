"""Traffic between device and cloud: recorded, replayed, compared, exported."""
