from pathlib import Path

VERSION = (Path(__file__).parents[2] / "VERSION").read_text().strip()
