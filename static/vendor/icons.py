"""Write the portal's icon sprite from the names in icons.txt and an unpacked @tabler/icons."""

import json
import re
import sys
from pathlib import Path

HERE = Path(__file__).parent


def sprite(package: Path) -> str:
    """Join the named outline icons into one SVG of symbols that take stroke and size from CSS."""
    symbols = []
    for name in (HERE / "icons.txt").read_text().split():
        drawing = (package / "icons" / "outline" / f"{name}.svg").read_text()
        shapes = re.sub(r"\s*\n\s*", "", drawing[drawing.index(">") + 1 : drawing.rindex("</svg>")])
        shapes = shapes.replace('<path stroke="none" d="M0 0h24v24H0z" fill="none" />', "")
        symbols.append(f'<symbol id="{name}" viewBox="0 0 24 24">{shapes}</symbol>')
    return '<svg xmlns="http://www.w3.org/2000/svg">\n' + "\n".join(symbols) + "\n</svg>\n"


if __name__ == "__main__":
    package = Path(sys.argv[1])
    version = json.loads((package / "package.json").read_text())["version"]
    (HERE / f"tabler-icons-{version}.svg").write_text(sprite(package))
