"""Hindi, Bengali and Telugu: spellings made one, and light stemmers, as Lucene 9 runs them.

Sources: the Unicode Standard 5.2, chapter 9, and the Linguistic Data Consortium's table of graphical
decompositions (all Indic scripts; `data/indic.txt`); P. Pingali and V. Varma, "Word normalization in
Indian languages", 2007, and L. Larkey et al., "Hindi CLIR in Thirty Days", 2003 (Hindi spellings);
A. Ramanathan and D. Rao, "A Lightweight Stemmer for Hindi", 2003; N. UzZaman and M. Khan, "A Double
Metaphone Encoding for Bangla", 2005 (Bengali spellings); P. Sengupta and B. Chaudhuri, "Verb Phrase
Analysis", 1996, and J. Savoy's light stemmer (Bengali endings).
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from importlib import resources

__all__ = [
    "compose",
    "normalize_bengali",
    "normalize_hindi",
    "normalize_telugu",
    "stem_bengali",
    "stem_hindi",
    "stem_telugu",
]


def _endings(text: str) -> Callable[[str], str]:
    """A stemmer that cuts the longest of the endings in `text` that leaves two characters."""
    pattern = re.compile(f"(?<=..)(?:{'|'.join(text.split())})$", re.DOTALL)
    return lambda word: pattern.sub("", word, count=1)


@functools.cache
def _compositions() -> tuple[re.Pattern[str], dict[str, str]]:
    """The sequences of `data/indic.txt` as one pattern (the longest wins), and what each is written as."""
    written = {}
    for line in (resources.files(__package__) / "data" / "indic.txt").read_text("ascii").splitlines():
        sequence, composed, blocks = (part.split() for part in line.split(":"))
        for block in blocks:
            first = int(block, 16)
            parts = ("\u200d" if part == "ZWJ" else chr(first + int(part, 16)) for part in sequence)
            written["".join(parts)] = chr(first + int(composed[0], 16))
    return re.compile("|".join(sorted(written, key=len, reverse=True))), written


def compose(word: str) -> str:
    """Letters and vowel signs that can be written in parts, each as its one character."""
    pattern, written = _compositions()
    return pattern.sub(lambda found: written[found[0]], word)


_VIRAMA_HINDI, _NA_HINDI, _BINDU = "\u094d", "\u0928", "\u0902"
_HINDI = str.maketrans(
    "\u0901\u0929\u0931\u0934\u0958\u0959\u095a\u095b\u095c\u095d\u095e\u095f\u0945\u0946\u0949\u094a\u090d\u090e\u0911\u0912"
    "\u0972\u0906\u0908\u090a\u0960\u0961\u0910\u0914\u0940\u0942\u0944\u0963\u0948\u094c",
    "\u0902\u0928\u0930\u0933\u0915\u0916\u0917\u091c\u0921\u0922\u092b\u092f\u0947\u0947\u094b\u094b\u090f\u090f\u0913\u0913"
    "\u0905\u0905\u0907\u0909\u090b\u090c\u090f\u0913\u093f\u0941\u0943\u0962\u0947\u094b",
    "\u093c\u094d\u200c\u200d",
)


def normalize_hindi(word: str) -> str:
    """No nukta, virama or joiners; dead na and chandrabindu as bindu; short vowels for long and for candra ones."""
    return word.replace(_NA_HINDI + _VIRAMA_HINDI, _BINDU).translate(_HINDI)


stem_hindi = _endings(
    "ाएंगी ाएंगे ाऊंगी ाऊंगा ाइयाँ ाइयों ाइयां ाएगी ाएगा ाओगी ाओगे एंगी ेंगी एंगे ेंगे ूंगी ूंगा ातीं नाओं नाएं ताओं ताएं ियाँ ियों ियां "
    "ाकर ाइए ाईं ाया ेगी ेगा ोगी ोगे ाने ाना ाते ाती ाता तीं ाओं ाएं ुओं ुएं ुआं कर ाओ िए ाई ाए ने नी ना ते ीं ती ता ाँ ां ों ें ो े ू ु ी ि ा"
)

_TELUGU = str.maketrans(
    "\u0c00\u0c01\u0c14\u0c10\u0c06\u0c08\u0c0a\u0c40\u0c42\u0c47\u0c4b",
    "\u0c02\u0c02\u0c13\u0c0f\u0c05\u0c07\u0c09\u0c3f\u0c41\u0c46\u0c4a",
    "\u0c03\u200c\u200d",
)


def normalize_telugu(word: str) -> str:
    """No visarga or joiners; candrabindu as bindu; short vowels for long ones."""
    return word.translate(_TELUGU)


stem_telugu = _endings("ళ్ళు డ్లు డు ము వు లు ని ను చే కై లో ది కి సు వై పై ి ీ ు ూ ె ే ొ ో ా")

_KA, _KHA, _VIRAMA, _SIGN_I, _SIGN_E, _SIGN_AA = "\u0995", "\u0996", "\u09cd", "\u09bf", "\u09c7", "\u09be"
_YA, _BA, _HA, _VISARGA = "\u09af", "\u09ac", "\u09b9", "\u0983"
_BENGALI = str.maketrans(
    "\u09c0\u09c2\u0999\u09b6\u09b7\u09a3\u09dc\u09dd\u09ce",
    "\u09bf\u09c1\u0982\u09b8\u09b8\u09a8\u09b0\u09b0\u09a4",
    "\u0981",
)


def normalize_bengali(word: str) -> str:
    """Letters that sound alike as one, and conjuncts with ya, ba and visarga as they are spoken."""
    spoken: list[str] = []
    place = 0
    while place < len(word):
        letter = word[place]
        place += 1
        if letter == _KA and word[place : place + 2] == _VIRAMA + _SIGN_I:
            spoken += [_KA, _KHA] if spoken else [_KHA]
            place += 2
        elif letter == _YA and spoken[-1:] == [_VIRAMA]:
            place += _join_ya(spoken, word[place : place + 1])
        elif letter == _BA and spoken[-1:] == [_VIRAMA] and len(spoken) > 1:
            _join_ba(spoken)
        elif letter == _VISARGA:
            _write_visarga(spoken, word[place : place + 1])
        else:
            spoken += letter.translate(_BENGALI)
    return "".join(spoken)


def _join_ya(spoken: list[str], following: str) -> int:
    """Ya after a virama: the sign e after a word's first letter (and no aa after it), else silent."""
    if len(spoken) == 2:
        spoken[-1] = _SIGN_E
        return int(following == _SIGN_AA)
    del spoken[-1]
    return 0


def _join_ba(spoken: list[str]) -> None:
    """Ba after a virama: silent after a word's first letter and in a longer conjunct, else the letter twice."""
    if len(spoken) == 2 or (len(spoken) >= 5 and spoken[-3] == _VIRAMA):
        del spoken[-1]
    else:
        spoken[-1] = spoken[-2]


def _write_visarga(spoken: list[str], following: str) -> None:
    """Visarga doubles the letter after it; at the end it is ha in a short word and silent in a longer one."""
    if following:
        spoken.append(following)
    elif len(spoken) < 3:
        spoken.append(_HA)


_YYA_IN_PARTS, _YYA = "\u09af\u09bc", "\u09df"

stem_bengali = _endings(
    "িয়াছিলাম িতেছিলাম িতেছিলেন ইতেছিলেন িয়াছিলেন ইয়াছিলেন িতেছিলি িতেছিলে িয়াছিলা িয়াছিলে িতেছিলা িয়াছিলি য়েদেরকে "
    "িতেছিস িতেছেন িয়াছিস িয়াছেন েছিলাম েছিলেন েদেরকে িতেছি িতেছা িতেছে ছিলাম ছিলেন িয়াছি িয়াছা িয়াছে েছিলে েছিলা য়েদের দেরকে "
    "িলাম িলেন িতাম িতেন িবেন ছিলি ছিলে ছিলা তেছে িতেছ খানা খানি গুলো গুলি য়েরা েদের লাম িলি ইলি িলে ইলে লেন িলা ইলা তাম িতি ইতি িতে ইতে "
    "তেন িতা িবা ইবা িবি ইবি বেন িবে ইবে ছেন য়োন য়ের েরা দের িস েন লি লে লা তি তে তা বি বে বা ছি ছা ছে ুন ুক টা টি নি ের রা কে "
    "ি ী া ো ে ব ত".replace(_YYA_IN_PARTS, _YYA)  # an editor may have taken the letter apart
)
