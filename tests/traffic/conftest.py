import sys
from pathlib import Path

# The scripted cloud and the device the original's recordings are replayed with.
sys.path.insert(0, str(Path(__file__).parents[1] / "device"))
