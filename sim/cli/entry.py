"""What the `cloudsim` script calls: the command line is imported only when Ctrl-C has a meaning."""

import signal


def main() -> None:
    """Run `cloudsim`. Until it is imported, an interrupt ends the process without a traceback."""
    handler = signal.getsignal(signal.SIGINT)
    if handler is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from sim.cli.main import main as run

    if handler is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    run()
