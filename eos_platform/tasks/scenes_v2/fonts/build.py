"""Cut the shipped fonts out of their packages: ``python build.py MDI_FOLDER DEJAVU_FOLDER`` (needs fontTools).

MDI_FOLDER is the unpacked npm package ``@mdi/font`` 7.4.47 (Apache-2.0), DEJAVU_FOLDER holds Debian's DejaVu fonts.
Writes ``icons.ttf``, ``icons.json`` (name: code point of the named kinds, and the code points of all others) and the
letters of five DejaVu faces.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from eos_platform.common import strict_json

HERE = Path(__file__).parent
FACES = ("DejaVuSans", "DejaVuSans-Bold", "DejaVuSerif", "DejaVuSansMono", "DejaVuSansCondensed")
KINDS = (HERE / "kinds.txt").read_text("utf-8").split()
# too like a named one to be told apart when small: neither named nor drawn
LOOKALIKES = (HERE / "lookalikes.txt").read_text("utf-8").split()
# further icons without a name of their own: no marks that only add a badge or a stroke to another icon, no brands
BADGES = re.compile(
    r"-(outline|off|alert|plus|minus|check|remove|lock|cog|edit|sync|arrow|variant|box|circle|multiple|clock|search|"
    r"account|key|eye|star|heart|cancel|refresh|question|export|import|marker|pause|play|stop|up|down|left|right|\d+)\b"
)
SKIP = re.compile(
    r"^(alpha|numeric|roman|format|arrow|chevron|file|folder|account|calendar|battery|wifi|signal|border)"
)


def main(mdi: Path, dejavu: Path) -> None:
    from fontTools.ttLib import TTFont

    css = (mdi / "css" / "materialdesignicons.css").read_text()
    codes = {n: int(c, 16) for n, c in re.findall(r'\.mdi-([a-z0-9-]+)::before \{\s*content: "\\([0-9A-F]+)"', css)}
    missing = [kind for kind in KINDS if kind not in codes]
    if missing:
        raise SystemExit(f"not in the icon font: {missing}")
    font = TTFont(mdi / "fonts" / "materialdesignicons-webfont.ttf")
    glyphs, cmap = font["glyf"], font.getBestCmap()

    def simple(code: int) -> bool:
        if code not in cmap:
            return False
        glyph = glyphs[cmap[code]]
        return glyph.numberOfContours > 0 and len(glyph.getCoordinates(glyphs)[0]) < 90

    taken = set(KINDS) | set(LOOKALIKES)
    others = [
        code
        for name, code in sorted(codes.items())
        if not (set(name.split("-")) & taken) and not BADGES.search(name) and not SKIP.match(name) and simple(code)
    ]
    kept = [codes[kind] for kind in KINDS] + others
    _cut(mdi / "fonts" / "materialdesignicons-webfont.ttf", kept, HERE / "icons.ttf")
    (HERE / "icons.json").write_text(
        strict_json.dumps({"named": {k: codes[k] for k in sorted(KINDS)}, "others": others})
    )
    for face in FACES:
        _cut(dejavu / f"{face}.ttf", list(range(32, 127)), HERE / f"{face}.ttf")
    print(len(KINDS), "named,", len(others), "others")


def _cut(source: Path, codes: list[int], out: Path) -> None:
    from fontTools import subset

    options = subset.Options(hinting=False, layout_features=[], notdef_outline=True, name_IDs=[0, 1, 2, 13, 14])
    font = subset.load_font(str(source), options)
    chosen = subset.Subsetter(options)
    chosen.populate(unicodes=codes)
    chosen.subset(font)
    subset.save_font(font, str(out), options)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
