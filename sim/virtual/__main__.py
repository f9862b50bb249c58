"""`python -m sim.virtual SEED` replays a trial with its event log; `--count N` judges N seeds from there."""

import random
import sys

import click

from sim.virtual.trial import Sweep, Trial


@click.command()
@click.argument("seed", type=click.IntRange(min=0))
@click.option("--count", type=click.IntRange(min=1), help="Judge so many seeds, without their logs.")
def main(seed: int, count: int | None) -> None:
    """Run the trial of SEED in virtual time. Exits 1 when a verdict is bad."""
    if count is None:
        verdict = Trial(seed, random.Random(seed), write=click.echo).run()
        click.echo(str(verdict))
        sys.exit(not verdict.end.good)
    sweep = Sweep.empty()
    for number in range(seed, seed + count):
        sweep.add(Trial(number, random.Random(number)).run())
    for bad in sweep.bad:
        click.echo(str(bad))
    click.echo(str(sweep))
    sys.exit(bool(sweep.bad))


if __name__ == "__main__":
    main()
