"""Tens of thousands of simulated devices in one process, against any compatible cloud over real sockets."""
