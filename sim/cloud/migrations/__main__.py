"""`python -m sim.cloud.migrations revision "why"`."""

import sys

from cloudsdk.errors import UsageError
from sim.cloud.migrations.revise import revise


def main(arguments: list[str]) -> int:
    """Exit status: 0 when a revision was written, 2 for a wrong call or when nothing has changed."""
    match arguments:
        case ["revision", why] if why.strip():
            try:
                path = revise(why)
            except UsageError as exc:
                sys.stderr.write(f"{exc}\n")
                return 2
            sys.stdout.write(f"{path}\n")
            return 0
    sys.stderr.write('usage: python -m sim.cloud.migrations revision "why"\n')
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
