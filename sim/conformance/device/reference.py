"""The simulated device as a command: `python -m sim.conformance.device.reference [--profile NAME] [--hasty]`.

It takes its settings from the environment, makes its board in `CLOUDSIM_STATE` when there is none, and ends
with its process. `--hasty` shortens the pauses of the SDK.
"""

import argparse
import os
import sys
from pathlib import Path
from typing import Final

from cloudsdk.limits import Limits
from cloudsdk.port import Port
from cloudsdk.profile import PROFILES, profile_named
from sim.board import LAYOUT_FILE, create_board, open_board
from sim.device import Device, Stopped
from sim.flash.layout import load_board

_PORT: Final = ("SN", "PRODUCT_ID", "PRODUCT_KEY", "ACTIVATION_URL", "MQTT_URL")
HASTY: Final = Limits(
    activation_retry=0.3,
    mqtt_silence=1.0,
    mqtt_reconnect=0.2,
    mqtt_reconnect_longest=1.0,
    download_retry=0.3,
    retry_longest=1.0,
)


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m sim.conformance.device.reference")
    parser.add_argument("--profile", choices=sorted(PROFILES), default="manual")
    parser.add_argument("--hasty", action="store_true")
    chosen = parser.parse_args()
    sn, product_id, product_key, activation_url, mqtt_url = (os.environ[f"CLOUDSIM_{name}"] for name in _PORT)
    board = Path(os.environ["CLOUDSIM_STATE"], "board")
    if not (board / LAYOUT_FILE).exists():
        create_board(board, load_board("iot-board"), app_version="1.0.0")
    with open_board(board) as opened:
        device = Device(
            opened,
            Port(sn, product_id, product_key, activation_url, mqtt_url),
            profile=profile_named(chosen.profile),
            limits=HASTY if chosen.hasty else Limits(),
            console=_write,
        )
        return 0 if isinstance(device.run(), Stopped) else 1


if __name__ == "__main__":
    sys.exit(main())
