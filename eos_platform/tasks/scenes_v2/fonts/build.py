"""Cut the shipped fonts out of their packages: ``python build.py MDI_FOLDER DEJAVU_FOLDER`` (needs fontTools).

MDI_FOLDER is the unpacked npm package ``@mdi/font`` 7.4.47 (Apache-2.0), DEJAVU_FOLDER holds Debian's DejaVu fonts.
Writes ``icons.ttf``, ``icons.json`` (name: code point of the named kinds, and the code points of all others) and the
letters of five DejaVu faces.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

from fontTools import subset  # type: ignore[import-not-found]
from fontTools.ttLib import TTFont  # type: ignore[import-not-found]

HERE = Path(__file__).parent
FACES = ("DejaVuSans", "DejaVuSans-Bold", "DejaVuSerif", "DejaVuSansMono", "DejaVuSansCondensed")
KINDS = """
abacus airplane ambulance anchor anvil apple axe baguette balloon bank barley barn barrel baseball basket basketball
bat bathtub battery beaker bed bee beer bell bicycle binoculars bird bomb bone book bookshelf boomerang bowl brain
bridge briefcase broom brush bucket bug bulldozer bus butterfly cactus cake calculator calendar camera campfire candle
candy car caravan carrot cart castle cat chandelier church clipboard clock cloud clover coffin cog compass cookie corn
cow crown cube cupcake desk diamond dog dolphin door duck dumbbell earth egg elephant excavator eye factory fan faucet
feather fence ferry fire firework fish flag flashlight flask flower football forklift fountain fridge ghost gift
glasses gondola grill hammer hamburger handcuffs hanger headphones heart helicopter home horse horseshoe iron island
jellyfish kangaroo kettle key keyboard kite knife koala ladder ladybug lamp laptop leaf lightbulb lighthouse lipstick
lock magnet mailbox map medal metronome microphone microscope mirror molecule mosque motorbike mouse mower mushroom
mustache nail necklace needle newspaper owl palette panda paperclip parachute passport paw peanut pencil penguin phone
piano pickaxe pig pill pillar pin pinwheel pipe pirate pistol pizza podium popcorn pretzel printer projector pumpkin
puzzle rabbit radar radio rake ribbon robot rocket rug ruler sack sausage saxophone school scooter seesaw shark sheep
shield shovel skateboard skull snail snake snowflake snowman sofa spider spray stadium stairs star stethoscope
stocking stool stove submarine sunglasses sword taco tank telescope television tent thermometer ticket toaster toilet
toolbox tooth torch tractor train tree trophy truck trumpet turkey turtle typewriter umbrella unicorn vacuum violin
volcano volleyball wallet wardrobe watch water waterfall wheelchair whistle wrench
""".split()
LOOKALIKES = set(  # too like a named one to be told apart when small: neither named nor drawn
    "box cheese crane cone cup donkey drone gate hospital muffin pan pen pitchfork pot purse scale "
    "screwdriver shower spear taxi toothbrush tram bugle weight".split()
)
# further icons without a name of their own: no marks that only add a badge or a stroke to another icon, no brands
BADGES = re.compile(
    r"-(outline|off|alert|plus|minus|check|remove|lock|cog|edit|sync|arrow|variant|box|circle|multiple|clock|search|"
    r"account|key|eye|star|heart|cancel|refresh|question|export|import|marker|pause|play|stop|up|down|left|right|\d+)\b"
)
SKIP = re.compile(r"^(alpha|numeric|roman|format|arrow|chevron|file|folder|account|calendar|battery|wifi|signal|border)")


def main(mdi: Path, dejavu: Path) -> None:
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

    taken = set(KINDS) | LOOKALIKES
    others = [
        code
        for name, code in sorted(codes.items())
        if not (set(name.split("-")) & taken) and not BADGES.search(name) and not SKIP.match(name) and simple(code)
    ]
    kept = [codes[kind] for kind in KINDS] + others
    _cut(mdi / "fonts" / "materialdesignicons-webfont.ttf", kept, HERE / "icons.ttf")
    (HERE / "icons.json").write_text(json.dumps({"named": {k: codes[k] for k in sorted(KINDS)}, "others": others}))
    for face in FACES:
        _cut(dejavu / f"{face}.ttf", list(range(32, 127)), HERE / f"{face}.ttf")
    print(len(KINDS), "named,", len(others), "others")


def _cut(source: Path, codes: list[int], out: Path) -> None:
    options = subset.Options(hinting=False, layout_features=[], notdef_outline=True, name_IDs=[0, 1, 2, 13, 14])
    font = subset.load_font(str(source), options)
    chosen = subset.Subsetter(options)
    chosen.populate(unicodes=codes)
    chosen.subset(font)
    subset.save_font(font, str(out), options)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
