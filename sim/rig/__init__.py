"""A bench for tests: clouds, devices and packages with a face that a test can read and write.

`RigCloud` and `RigDevice` are what a test sees; behind them are sockets and threads (`local_cloud`,
`remote_cloud`, `live_device`) or the virtual world (`virtual_rig`).
"""
