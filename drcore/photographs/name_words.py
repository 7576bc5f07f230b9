"""Words in the names of photographs: for eyes, for what is no patient, for months."""

from __future__ import annotations

import re

from drcore.eye import Laterality

__all__ = [
    "CAPITALS", "COUNTED", "EYES", "MONTHS", "NO_PATIENT", "PARTICLES", "SENT", "WEAK_EYES",
]  # fmt: skip

EYES: dict[str, Laterality] = {
    "od": "OD", "right": "OD", "rechts": "OD", "rechtes": "OD", "rechte": "OD", "droit": "OD",
    "droite": "OD", "derecho": "OD", "derecha": "OD", "destro": "OD", "direito": "OD",
    "os": "OS", "left": "OS", "links": "OS", "linkes": "OS", "linke": "OS", "gauche": "OS",
    "izquierdo": "OS", "izquierda": "OS", "sinistro": "OS", "esquerdo": "OS",
    "höger": "OD", "højre": "OD", "høyre": "OD", "правый": "OD", "праве": "OD", "δεξί": "OD",
    "vänster": "OS", "venstre": "OS", "левый": "OS", "ліве": "OS", "αριστερό": "OS",
    "phải": "OD", "اليمنى": "OD", "右眼": "OD", "右目": "OD", "우안": "OD",
    "trái": "OS", "اليسرى": "OS", "左眼": "OS", "左目": "OS", "좌안": "OS",
}  # fmt: skip
"""Words that name an eye: Latin, English, and what cameras set to other languages write."""

WEAK_EYES: dict[str, Laterality] = {
    "re": "OD", "ra": "OD", "r": "OD", "le": "OS", "la": "OS", "l": "OS",
    "og": "OS", "oe": "OS", "oi": "OS",
    "rechter": "OD", "rechteroog": "OD", "oikea": "OD", "prawe": "OD", "prawy": "OD", "pravé": "OD",
    "linker": "OS", "linkeroog": "OS", "vasen": "OS", "lewe": "OS", "lewy": "OS", "levé": "OS",
    "sağ": "OD", "kanan": "OD", "kiri": "OS", "dexter": "OD", "sinister": "OS",
    "dx": "OD", "sx": "OS", "dcho": "OD", "dcha": "OD", "izq": "OS", "izdo": "OS", "izda": "OS",
}  # fmt: skip
"""Also names and initials of people: they count only where no other word stands beside them."""

CAPITALS = frozenset({"OG", "OE", "OI"})
"""Of these, what in capitals is no name."""

NO_PATIENT = frozenset(
    """
    patient pat subject case id name unknown anonymous anon noname eye eyes auge oeil ojo
    olho occhio oog oculus side seite field feld f1 f2 f3 f4 f5 f6 f7 macula makula mac
    disc disk papilla papille fovea nasal temporal temp superior inferior sup inf central
    centre center posterior pole periphery upper lower wide widefield uwf fundus retina
    retinal colour color cfp rgb redfree red free img image images photo photos photograph
    pic picture pages frames foto bild scan capture shot frame page dsc dscn dscf pict file untitled
    copy kopie nr no number series of jpg jpeg png tif tiff baseline visit follow up
    followup before after pre post centred centered macular optic retinography retinographie
    retinografie retinografia retinografía retinograma netzhaut augenhintergrund hintergrund fond
    fondo fundo œil d'oeil d'œil öga øje øye göz oko глаз око szem mata mắt silmä
    μάτι العين 眼 底 眼底 paciente paziente pasient patiente patientin пациент imagen imagem
    immagine bilde zdjęcie фото снимок 照片 写真 anonymised anonymized anonyme
    anonimo anónimo anônimo anonymisiert unbekannt unbenannt inconnu desconocido sin nombre sans
    deidentified removed withheld none null na blank empty
    titre copie copia cópia kopia kopi export exported screenshot captura whatsapp camera nidek
    topcon canon zeiss optos kowa optomed patiënt pacient pacjent potilas hasta 患者 病人 환자 مريض
    test demo sample example new old final edited cropped resized compressed enhanced original raw
    small large exam examination session study screening clinic hospital normal abnormal healthy
    npdr pdr dr dme grade mild moderate severe proliferative first second third blurred dilated
    undilated mydriatic nonmydriatic stereo montage view gaze deg degrees day week month year faf
    ir oct ffa angiography pxl mvimg vid burst camscanner snapchat signal retinopathy diabetic
    maculopathy oedema edema glaucoma amd cataract
    """.split()  # noqa: SIM905 - a list of words, to be read as one
)
"""Words for eye, side, field, counter and visit: none of them is a patient."""

PARTICLES = frozenset({"de", "del", "des", "di", "do", "du", "et", "la", "of", "the", "van"})
"""Parts of names that are no name by themselves: `fondo de ojo`."""

COUNTED = frozenset(
    """
    eye auge field feld image img photo picture pic scan shot frame page dsc dscn dscf pict copy
    kopie visit foto bild file capture series grade test exam session day week month version v
    """.split()  # noqa: SIM905 - a list of words, to be read as one
)
"""Words that a number may follow without a space, which then is a counter: `Field2`, `IMG0001`."""

MONTHS = frozenset(
    """
    jan january januar janvier enero gennaio janeiro feb february februar février febrero febbraio
    fevereiro mar march märz mars marzo março apr april avril abril aprile may mai mayo maggio maio
    jun june juni juin junio giugno junho jul july juli juillet julio luglio julho aug august août
    agosto sep sept september septembre septiembre settembre setembro oct october okt oktober
    octobre octubre ottobre outubro nov november novembre noviembre novembro dec december dez
    dezember décembre diciembre dicembre dezembro
    """.split()  # noqa: SIM905 - a list of words, to be read as one
)
"""Months, short and long: with numbers alone beside them a date, which is no patient."""

SENT = re.compile(
    r"whatsapp|(?<![a-z0-9])wa\d{4}(?!\d)|screen\s*shot|bildschirmfoto|captura|export|telegram",
    re.IGNORECASE,
)
"""What programs name when a picture was sent or saved: their date is that of no examination."""
