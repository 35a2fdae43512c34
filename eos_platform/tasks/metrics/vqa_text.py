"""How VQA's evaluation reads an answer before it compares: punctuation, numbers in words, articles, contractions.

Kept to the letter of the official code, its slips included, since scores are only comparable with them: full stops are
searched with a misspelt look-behind, and only the first 32 are found, where a flag was passed as a count.
"""

from __future__ import annotations

import re

NUMBERS = {"none": "0"} | {
    word: str(number)
    for number, word in enumerate(
        ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"),
    )
}
ARTICLES = ("a", "an", "the")
PUNCTUATION = tuple(';/[]"{}()=+\\_-><@`,?!')
FULL_STOP = re.compile(r"(?!<=\d)(\.)(?!\d)")
COMMA = re.compile(r"(?<=\d)(\,)+(?=\d)")
STOPS = 32
# what is meant = as it is written
TABLE = """
    ain't=aint aren't=arent can't=cant could've=couldve couldn't=couldnt couldn't've=couldn'tve,couldnt've
    didn't=didnt doesn't=doesnt don't=dont hadn't=hadnt hadn't've=hadnt've,hadn'tve hasn't=hasnt haven't=havent
    he'd=hed he'd've=hed've,he'dve he's=hes how'd=howd how'll=howll how's=hows I'd've=Id've,I'dve I'm=Im I've=Ive
    isn't=isnt it'd=itd it'd've=itd've,it'dve it'll=itll let's=let's ma'am=maam mightn't=mightnt
    mightn't've=mightnt've,mightn'tve might've=mightve mustn't=mustnt must've=mustve needn't=neednt not've=notve
    o'clock=oclock oughtn't=oughtnt 'ow's'at=ow's'at,'ows'at,'ow'sat shan't=shant she'd've=shed've,she'dve
    she's=she's should've=shouldve shouldn't=shouldnt shouldn't've=shouldnt've,shouldn'tve somebodyd=somebody'd
    somebody'd've=somebodyd've,somebody'dve somebody'll=somebodyll somebody's=somebodys someone'd=someoned
    someone'd've=someoned've,someone'dve someone'll=someonell someone's=someones something'd=somethingd
    something'd've=somethingd've,something'dve something'll=somethingll that's=thats there'd=thered
    there'd've=thered've,there'dve there're=therere there's=theres they'd=theyd they'd've=theyd've,they'dve
    they'll=theyll they're=theyre they've=theyve 'twas=twas wasn't=wasnt we'd've=wed've,we'dve we've=weve
    weren't=werent what'll=whatll what're=whatre what's=whats what've=whatve when's=whens where'd=whered
    where's=wheres where've=whereve who'd=whod who'd've=whod've,who'dve who'll=wholl who's=whos who've=whove
    why'll=whyll why're=whyre why's=whys won't=wont would've=wouldve wouldn't=wouldnt
    wouldn't've=wouldnt've,wouldn'tve y'all=yall y'all'll=yall'll,y'allll y'all'd've=yall'd've,y'alld've,y'all'dve
    you'd=youd you'd've=youd've,you'dve you'll=youll you're=youre you've=youve
"""
CONTRACTIONS = {
    written: meant for entry in TABLE.split() for meant, several in [entry.split("=")] for written in several.split(",")
}


def read_vqa(text: str) -> str:
    """An answer as VQAv2's evaluation compares it."""
    text = text.replace("\n", " ").replace("\t", " ").strip()
    return _words(_bare(text))


def read_textvqa(text: str) -> str:
    """An answer as TextVQA's evaluation (of M4C) compares it: in small letters first."""
    text = text.lower().replace(",", "").replace("?", "").replace("'s", " 's").strip()
    return read_vqa(text)


def _bare(text: str) -> str:
    """Without punctuation: removed where it touches a space anywhere, or a comma is inside a number; else a space."""
    comma, result = COMMA.search(text) is not None, text
    for mark in PUNCTUATION:
        removed = comma or mark + " " in text or " " + mark in text
        result = result.replace(mark, "" if removed else " ")
    return FULL_STOP.sub("", result, count=STOPS)


def _words(text: str) -> str:
    words = (NUMBERS.get(word, word) for word in text.lower().split())
    return " ".join(CONTRACTIONS.get(word, word) for word in words if word not in ARTICLES)
