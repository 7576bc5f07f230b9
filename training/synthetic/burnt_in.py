"""Names and dates written into photographs, as cameras and archives burn them in: any script."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from drcore.preprocessing.field_of_view import FieldOfView

__all__ = ["COLOURS", "NAMES", "Font", "Line", "burn_in", "fonts_in", "random_date", "random_line"]

Style = Literal["plain", "box", "outline", "faint"]

STYLES: tuple[Style, ...] = ("plain", "box", "outline", "faint")

COLOURS: dict[str, tuple[int, int, int]] = {
    "white": (255, 255, 255), "yellow": (255, 255, 0), "green": (0, 255, 0), "black": (0, 0, 0),
    "red": (255, 0, 0), "cyan": (0, 255, 255), "grey": (190, 190, 190),
}  # fmt: skip

NAMES: dict[str, tuple[str, ...]] = {
    "Latin": (
        "Anna Müller",
        "O'BRIEN, John",
        "Łukasz Nowak",
        "NGUYEN VAN AN",
        "García López",
        "Çelik",
        "Smith^Mary",
        "de Vries",
        "Patel R.",
        "KOWALSKA",
    ),
    "Cyrillic": ("Иванов Пётр", "Щербакова Ольга", "Їжакевич", "ПЕТРОВ А. Б."),  # noqa: RUF001
    "Greek": ("Παπαδόπουλος", "Ελένη Γεωργίου", "ΝΙΚΟΣ Α."),  # noqa: RUF001
    "Armenian": ("Անահիտ Պետրոսյան", "Գրիգոր Հակոբյան"),
    "Georgian": ("ნინო ბერიძე", "გიორგი მაისურაძე"),
    "Hebrew": ("דוד כהן", "מרים לוי", "יוסף בן־דוד"),
    "Arabic": ("محمد أحمد", "فاطمة الزهراء", "علی رضایی", "دكتور حسن"),
    "Devanagari": ("अनिल कुमार", "सुनीता शर्मा", "राजेश्वरी"),
    "Bengali": ("রহিম উদ্দিন", "সুমিত্রা দাস"),
    "Gujarati": ("રમેશ પટેલ", "મીના શાહ"),
    "Gurmukhi": ("ਗੁਰਪ੍ਰੀਤ ਸਿੰਘ", "ਹਰਜੀਤ ਕੌਰ"),
    "Tamil": ("முருகன் செல்வம்", "லட்சுமி"),
    "Telugu": ("వెంకటేశ్వర రావు", "లక్ష్మి"),
    "Kannada": ("ರಾಜೇಶ್ ಗೌಡ", "ಸುಮಾ"),
    "Malayalam": ("രാജൻ നായർ", "സുധ"),
    "Sinhala": ("සුනිල් පෙරේරා", "නිමල්"),
    "Thai": ("สมชาย ใจดี", "สุดารัตน์"),
    "Lao": ("ສົມສັກ", "ບຸນມີ ວົງສາ"),
    "Khmer": ("សុខា ចាន់", "វណ្ណា"),
    "Myanmar": ("အောင်ကျော်", "မြင့်မြင့်"),
    "Ethiopic": ("አበበ ቢቂላ", "ሰላም ተስፋዬ"),
    "Chinese": ("张伟", "欧阳娜娜", "陳大文", "王小明"),
    "Japanese": ("山田太郎", "さとう はなこ", "スズキ イチロー"),
    "Korean": ("김철수", "박지영", "이순신"),
}
"""Invented names, by script."""

_FAMILIES: dict[str, tuple[str, ...]] = {
    "Latin": (
        "NotoSans-",
        "NotoSerif-",
        "DejaVuSans",
        "DejaVuSerif",
        "DejaVuSansMono",
        "FreeSans",
        "FreeSerif",
        "FreeMono",
    ),
    "Cyrillic": ("NotoSans-", "NotoSerif-", "DejaVuSans", "DejaVuSerif", "FreeSans", "FreeMono"),
    "Greek": ("NotoSans-", "NotoSerif-", "DejaVuSans", "DejaVuSerif", "FreeSans", "FreeMono"),
    "Arabic": ("NotoSansArabic", "NotoNaskhArabic", "NotoKufiArabic", "DejaVuSans"),
    "Hebrew": ("NotoSansHebrew", "NotoSerifHebrew", "NotoRashiHebrew", "DejaVuSans", "FreeSans"),
    "Chinese": ("NotoSansCJK", "NotoSerifCJK"),
    "Japanese": ("NotoSansCJK", "NotoSerifCJK"),
    "Korean": ("NotoSansCJK", "NotoSerifCJK"),
}
"""Beginnings of the names of font files; other scripts are `NotoSans<script>` and its like."""


@dataclass(frozen=True, slots=True)
class Font:
    """A font file that has the letters of a script."""

    file: Path
    index: int = 0


@dataclass(frozen=True, slots=True)
class Line:
    """A line of writing.

    Attributes:
        text: a name, a date or both.
        script: of `NAMES`, or "Date".
        font: that it is set in.
        size: of the font in pixels (em).
        colour: of `COLOURS`.
        style: plain, in a box, outlined in the opposite colour, or with 60 to 90 % opacity.
        opacity: 0-1.
        turned: quarter turns.
    """

    text: str
    script: str
    font: Font
    size: int
    colour: str
    style: Style
    opacity: float
    turned: int


def fonts_in(folder: Path) -> dict[str, list[Font]]:
    """Find fonts for the scripts of `NAMES`.

    Args:
        folder: with TrueType and OpenType fonts, such as Debian's fonts-noto-core,
            fonts-noto-cjk, fonts-dejavu and fonts-freefont-ttf put them in /usr/share/fonts.

    Returns:
        By script, sorted; scripts without a font are left out.
    """
    files = sorted(f for f in folder.rglob("*") if f.suffix.lower() in {".ttf", ".ttc", ".otf"})
    found: dict[str, list[Font]] = {}
    for script in NAMES:
        own = tuple(f"Noto{kind}{script}{end}" for kind in ("Sans", "Serif", "Looped")
                    for end in "-.")  # fmt: skip
        families = _FAMILIES.get(script, own)
        fonts = [
            Font(file, {"Japanese": 0, "Korean": 1, "Chinese": 2}.get(script, 0))
            if file.suffix == ".ttc" else Font(file)
            for file in files if file.name.startswith(families)
        ]  # fmt: skip
        if fonts:
            found[script] = fonts
    return found


def random_line(
    rng: np.random.Generator,
    fonts: dict[str, list[Font]],
    script: str,
    sizes: tuple[int, int],
    colours: tuple[str, ...] = tuple(COLOURS),
) -> Line:
    """Draw a line of writing at random.

    Args:
        rng: source of chance.
        fonts: of `fonts_in`.
        script: of `NAMES`, or "Date" for a date in Latin digits.
        sizes: smallest and largest size of the font in pixels, drawn evenly in logarithms.
        colours: to choose from.

    Returns:
        The line.
    """
    name = NAMES["Latin" if script == "Date" else script]
    text = str(rng.choice(name))
    if script == "Date":
        text = random_date(rng)
    elif rng.random() < 0.4:
        text = f"{text} {random_date(rng)}"
    choice = fonts["Latin" if script == "Date" else script]
    style = STYLES[int(rng.integers(len(STYLES)))]
    return Line(
        text, script, choice[int(rng.integers(len(choice)))],
        round(float(np.exp(rng.uniform(*np.log(sizes))))), str(rng.choice(colours)), style,
        float(rng.uniform(0.6, 0.9)) if style == "faint" else 1.0,
        int(rng.choice([0, 0, 0, 1, 3, 2])),
    )  # fmt: skip


def random_date(rng: np.random.Generator) -> str:
    """Return a date in one of the ways in which people write it.

    Args:
        rng: source of chance.

    Returns:
        Of 1925 to 2026, in Latin digits, some with the time of day.
    """
    y, m, d = int(rng.integers(1925, 2027)), int(rng.integers(1, 13)), int(rng.integers(1, 29))
    month = f"{date(y, m, d):%b}"
    forms = (
        f"{y}-{m:02}-{d:02}",
        f"{d:02}.{m:02}.{y}",
        f"{m}/{d}/{y}",
        f"{d:02}-{month}-{y}",
        f"{y}/{m:02}/{d:02} {d % 24:02}:{m * 4:02}",
        f"{d:02} {month} {y % 100:02}",
    )
    return forms[int(rng.integers(len(forms)))]


def burn_in(
    rgb: NDArray[np.uint8], line: Line, view: FieldOfView | None, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], tuple[int, int, int, int]] | None:
    """Write a line onto the retina.

    Args:
        rgb: uint8 (h, w, 3).
        line: to write.
        view: within which it is to lie as a whole; the whole picture where None.
        rng: where.

    Returns:
        The photograph, uint8 (h, w, 3), and the box of the ink: left, top, right, bottom in
        pixels; None where the line does not fit onto the retina.
    """
    ink, edge = _ink(line)
    high, wide = ink.shape
    height, width = rgb.shape[:2]
    pad = max(3, line.size // 5)
    if high + 2 * pad > height or wide + 2 * pad > width:
        return None
    inside = np.ones((height, width), bool) if view is None else view.mask(height, width, 0.02)
    place = _place(inside, high + 2 * pad, wide + 2 * pad, rng)
    if place is None:
        return None
    top, left = place[0] + pad, place[1] + pad
    out = rgb.astype(np.float32)
    if line.style == "box":
        box = out[top - pad : top + high + pad, left - pad : left + wide + pad]
        box[:] = 0.0 if sum(COLOURS[line.colour]) > 200 else 235.0
    spot = out[top : top + high, left : left + wide]
    colour = np.array(COLOURS[line.colour], np.float32)
    if line.style == "outline":
        other = 0.0 if colour.sum() > 200 else 255.0
        spot[:] = spot + (other - spot) * edge[..., None]
    spot[:] = spot + (colour - spot) * (ink * line.opacity)[..., None]
    rows, columns = np.nonzero(ink > 0.3)
    if not len(rows):
        return None
    box_of_ink = (
        left + int(columns.min()), top + int(rows.min()),
        left + int(columns.max()) + 1, top + int(rows.max()) + 1,
    )  # fmt: skip
    return np.clip(np.rint(out), 0, 255).astype(np.uint8), box_of_ink


def _ink(line: Line) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Coverage of the letters and of their outline, 0-1, both (h, w)."""
    font = ImageFont.truetype(str(line.font.file), line.size, index=line.font.index)
    left, top, right, bottom = font.getbbox(line.text)
    margin = 2 + line.size // 10
    canvas = Image.new("L", (int(right - left) + 2 * margin, int(bottom - top) + 2 * margin), 0)
    ImageDraw.Draw(canvas).text((margin - left, margin - top), line.text, fill=255, font=font)
    ink = np.rot90(np.asarray(canvas, np.float32) / 255, line.turned)
    ink = np.ascontiguousarray(ink)
    thick = np.ones((3, 3), np.uint8)
    edge = np.asarray(cv2.dilate(ink, thick, iterations=max(1, line.size // 16)), np.float32)
    return ink, edge


def _place(
    inside: NDArray[np.bool_], high: int, wide: int, rng: np.random.Generator
) -> tuple[int, int] | None:
    """Upper left corner of a place where a box lies inside as a whole; None where there is none."""
    total = cv2.integral(inside.astype(np.uint8))
    full = total[high:, wide:] - total[:-high, wide:] - total[high:, :-wide] + total[:-high, :-wide]
    rows, columns = np.nonzero(full == high * wide)
    if not len(rows):
        return None
    chosen = int(rng.integers(len(rows)))
    return int(rows[chosen]), int(columns[chosen])
