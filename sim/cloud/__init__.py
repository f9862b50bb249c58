"""The reference cloud: accounts, products, devices, firmware, OTA tasks, and the brokers it works with."""
