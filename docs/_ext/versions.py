"""Put a built site into the folder of all versions: ``versions.py BUILT SITE URL VERSION``.

Writes what the version switcher of the theme reads, SITE/switcher.json, and a front page that leads
to the newest release, or to ``latest`` before there is one.
"""

import json
import re
import shutil
import sys
from pathlib import Path


def add(built: Path, site: Path, url: str, version: str) -> None:
    """Replace the folder of a version, and list all versions again."""
    shutil.rmtree(site / version, ignore_errors=True)
    shutil.copytree(built, site / version)
    names = [each.name for each in site.iterdir() if re.match(r"v\d", each.name)]
    releases = sorted(names, key=lambda name: [*map(int, re.findall(r"\d+", name))], reverse=True)
    preferred = (releases or ["latest"])[0]
    entries = [
        {"version": name, "url": f"{url}/{name}/", "preferred": name == preferred}
        for name in ["latest", *releases]
        if (site / name).is_dir()
    ]
    (site / "switcher.json").write_text(json.dumps(entries, indent=1) + "\n")
    front = f'<meta http-equiv="refresh" content="0; url={preferred}/">\n'
    (site / "index.html").write_text(front)
    (site / ".nojekyll").touch()


if __name__ == "__main__":
    add(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], sys.argv[4])
