"""Write docs/conformance/*.md from the cases: `python -m sim.conformance.pages`, in the root."""

from pathlib import Path

from sim.conformance import bootloader, cloud, device
from sim.conformance.reports import page


def main() -> None:
    folder = Path("docs/conformance")
    Path(folder, "cloud.md").write_text(page(cloud.SUITE), encoding="utf-8")
    Path(folder, "device.md").write_text(page(device.SUITE), encoding="utf-8")
    Path(folder, "bootloader.md").write_text(page(bootloader.SUITE), encoding="utf-8")


if __name__ == "__main__":
    main()
