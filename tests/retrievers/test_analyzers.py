"""Text to terms: the expected terms are what Lucene 9.9's analyzers give for the same text."""

from __future__ import annotations

import importlib.metadata
import json
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, Cli, write_collection

from harness.errors import HarnessError
from harness.retrievers.analyzers import analyzer, chosen, languages, porter
from harness.retrievers.analyzers.filters import fold_width, lower
from harness.retrievers.analyzers.segmenters import SEGMENTERS
from harness.retrievers.analyzers.standard import _matches, tokenize

LUCENE = [
    (
        "en",
        "The quick brown foxes' tails weren't running in O'Neil's U.S.A. house-boats, flying at 3.14 km/h!",
        "quick brown fox tail weren't run o'neil u.s.a hous boat fly 3.14 km h",
    ),
    (
        "en",
        "relational conditional hopping falling sky_skies 1,000 ℃ 5′-GMP",
        "relat condit hop fall sky_ski 1,000 5 gmp",
    ),
    ("ar", "كان الفريقان يلعبان في المدينة الجامعية سنة ٢٠٠٥", "فريق يلعب مدين جامع سن 2005"),
    ("ar", "والكتابُ للطالبات", "كتاب طالب"),
    ("bn", "বাংলাদেশের রাজধানী ঢাকা শহরে মানুষেরা খেলছিলেন", "বাংলাদেস রাজধা ঢাক সহর মানুস খেল"),
    ("bn", "দুঃখ ও বিজ্ঞান ১৯৭১", "দুখখ বিজ্ঞান 1971"),
    ("da", "Husene lå ved de smukke kirker i København", "hus lå ved smuk kirk københavn"),
    (
        "de",
        "Die Häuser der schönsten Städte wurden größer, über Straßen und Mueller's Buecher",
        "haus schon stadt wurd gross strass muller's buch",
    ),
    ("de", "quellen neue Ärztinnen", "quell neu arztinn"),
    ("el", "Η Αθήνα είναι η πρωτεύουσα της Ελλάδας ΣΑΣ", "η αθήνα είναι η πρωτεύουσα της ελλάδας σασ"),
    (
        "es",
        "Las canciones más hermosas de los niños españoles fueron cantadas veces",
        "cancion hermos niñ español cantad vez",
    ),
    ("es", "los intereses económicos", "interes economic"),
    ("fa", "کتاب\u200cهای خوبی در دانشگاه تهران ۱۲۳", "كتاب خوبي دانشگاه تهران 123"),
    ("fi", "Talojen ikkunoista näkyi kauniita järviä", "talo ikkuno näkyi kauni järv"),
    (
        "fr",
        "L'équipe nationale des chevaux jusqu’aux journaux quotidiennement finissant la modification",
        "equip national cheval journal quotidien fini modific",
    ),
    ("fr", "les lectrices heureuses aujourd'hui", "lect heureu aujourd'hui"),
    ("hi", "भारत की राजधानी में लड़कियों ने हिन्दी पढ़ाई १९४७", "भारत राजधान लडक हिंद पढाइ 1947"),
    ("hu", "A házakban lakó embereknek szép kertjeik vannak", "ház lakó ember szép kert"),
    ("id", "Pemerintahnya mengajarkan pelajaran bermain kepada anak-anaknya", "erintah ajar lajar main anak anak"),
    ("it", "L'acqua della città è dell'amico, le belle amiche e i fuochi", "acqua città amico belle amic fuoc"),
    ("ko", "한국어 검색은 매우 어렵다 Seoul 서울에서", "한국 국어 검색 색은 매우 어렵 렵다 seoul 서울 울에 에서"),
    ("nl", "De kinderen fietsten met het kind op een fiets naar huizen", "kinder fietst kinder fiets huiz"),
    ("no", "Husene lå ved de vakre kirkene i Oslo", "hus lå vakr kirk oslo"),
    (
        "pt",
        "As canções dos meninos portugueses foram rapidamente cantadas pelas senhoras bonitas",
        "canca menin portugues rapid cantad senhor bonit",
    ),
    ("ru", "Красивые дома стояли на берегах больших рек России", "красив дом стоя берег больш рек росс"),
    ("sv", "Husen låg vid de vackra kyrkorna i Stockholm", "hus låg vackr kyrk stockholm"),
    ("te", "భారతదేశంలో పుస్తకాలు చదివే పిల్లలు NASA ౧౨", "భారతదెశంల పుస్తకా చదివ పిల్ల NASA 12"),
    ("tr", "İstanbul'un güzel evlerinde ISPARTA'lı kitapları okuyorlar", "istanbul güzel ev ıspar kitap okuyor"),
    (
        "zh",
        "《战国无双3》（）是由光荣和ω-force开发的ＡＢＣ。",
        "战国 国无 无双 3 是由 由光 光荣 荣和 ω force 开发 发的 abc",
    ),
    ("zh", "中 国人 a", "中 国人"),
    ("zh", "蘋果iPhone手機", "蘋果 iphone 手機"),
]


@pytest.mark.parametrize(("language", "text", "terms"), LUCENE, ids=lambda value: value[:12])
def test_an_analyzer_gives_the_terms_that_lucene_gives(language, text, terms):
    assert analyzer(language)(text) == terms.split()


STANDARD = [
    ("", []),
    (" \t\n ... -- ", []),
    ("can't O’Reilly", ["can't", "O’Reilly"]),
    ("a.b a:b a..b 1,5 1.5 a,b 1:2", ["a.b", "a:b", "a", "b", "1,5", "1.5", "a", "b", "1", "2"]),
    ("foo_bar __init__ ____", ["foo_bar", "__init__"]),
    ("e-mail user@host.org", ["e", "mail", "user", "host.org"]),
    ("x² ½ 10½", ["x", "10"]),
    ("中文ab", ["中", "文", "ab"]),
    ("ひらカタカナ한국어", ["ひ", "ら", "カタカナ", "한국어"]),
    ("ภาษาไทย ລາວ", ["ภาษาไทย", "ລາວ"]),
    ("ארה\"ב צה\"ל ג'ורג'", ['ארה"ב', 'צה"ל', "ג'ורג'"]),
    ("e\u0301te\u0301 \u0301a", ["e\u0301te\u0301", "a"]),
    ("1\ufe0f\u20e3 👍🏽 🇺🇸🇫🇷 👨\u200d👩\u200d👧 ©", ["1\ufe0f\u20e3", "👍🏽", "🇺🇸", "🇫🇷", "👨\u200d👩\u200d👧", "©"]),
    ("a\u202fb", ["a\u202fb"]),
    ("a\u200bb", ["a", "b"]),
]


@pytest.mark.parametrize(("text", "tokens"), STANDARD, ids=[repr(text)[:20] for text, _ in STANDARD])
def test_words_break_as_in_lucenes_standard_tokenizer(text, tokens):
    assert tokenize(text) == tokens


def test_a_token_ends_after_255_utf16_units():
    assert list(map(len, tokenize("x" * 300))) == [255, 45]
    assert list(map(len, tokenize("x" * 255))) == [255]
    assert list(map(len, tokenize("\U00010400" * 200))) == [127, 73]
    assert list(map(len, tokenize("a'" * 200))) == [255, 143]
    assert analyzer("en")("x" * 300) == ["x" * 255, "x" * 45]


def test_signs_beside_a_word_are_left_out_as_the_rules_alone_do_it():
    random = np.random.default_rng(0)
    signs = list("aZ09'_.,-#*:()!\" \t\x1c\u0301\u20e3\u00e9")
    texts = ["".join(random.choice(signs, size)) for size in random.integers(0, 9, 3000)]
    for text in [*texts, f"({'x' * 255})", f"({'x' * 256})"]:
        assert tokenize(text) == [match[0] for match in _matches("Token", text)], text


def test_a_long_run_of_chinese_is_no_long_token():
    assert analyzer("zh")("中" * 600) == ["中中"] * 599


def test_a_line_of_underscores_takes_no_time():
    assert tokenize("_" * 50_000 + " a") == ["a"]


def test_pieces_cut_at_white_space_give_the_terms_of_the_whole():
    text = "one two\u3000three\u202ffour\u00a0five\u2028six\x1cseven"
    assert analyzer("xx")(text) == tokenize(text)


STEMS = {
    "caresses": "caress", "ponies": "poni", "ties": "ti", "cats": "cat", "feed": "feed", "agreed": "agre",
    "plastered": "plaster", "bled": "bled", "motoring": "motor", "sing": "sing", "conflated": "conflat",
    "troubled": "troubl", "sized": "size", "hopping": "hop", "tanned": "tan", "falling": "fall",
    "hissing": "hiss", "fizzed": "fizz", "failing": "fail", "filing": "file", "happy": "happi", "sky": "sky",
    "relational": "relat", "rational": "ration", "valenci": "valenc", "digitizer": "digit",
    "conformabli": "conform", "radicalli": "radic", "vietnamization": "vietnam", "operator": "oper",
    "formaliti": "formal", "triplicate": "triplic", "hopeful": "hope", "goodness": "good", "revival": "reviv",
    "adjustable": "adjust", "replacement": "replac", "adoption": "adopt", "communism": "commun",
    "probate": "probat", "rate": "rate", "cease": "ceas", "controll": "control", "roll": "roll",
}  # fmt: skip
"""The examples of Porter's paper, each after all of its steps."""


def test_the_examples_of_porters_paper_have_its_stems():
    assert {word: porter.stem(word) for word in STEMS} == STEMS


def test_the_author_and_lucene_depart_from_the_paper_in_three_places():
    assert porter.stem("is") == "is"
    assert porter.stem("possibly") == "possibl"
    assert porter.stem("psychology") == "psycholog"


def test_all_33_english_stop_words_go_and_no_other():
    words = (
        "a an and are as at be but by for if in into is it no not of on or such that the their then there these "
        "they this to was will with"
    )
    assert analyzer("en")(words.upper()) == []
    assert analyzer("en")("I from has he were") == ["i", "from", "ha", "he", "were"]


def test_lower_case_is_java_s_not_python_s():
    assert lower("ΌΔΟΣ İI") == "όδοσ ii"


def test_width_is_folded_and_voice_marks_join_their_letter():
    assert fold_width("Ｈｅｌｌｏ！ｶﾞﾊﾟｱﾞ") == "Hello!ガパア\u3099"


@pytest.mark.parametrize(
    ("code", "short"),
    [
        ("eng-Latn", "en"), ("en-US", "en"), ("EN", "en"), ("zho-Hans", "zh"), ("cmn-Hans", "zh"), ("zh_TW", "zh"),
        ("jpn-Jpan", "ja"), ("kor-Kore", "ko"), ("tha-Thai", "th"), ("arb-Arab", "ar"), ("swh-Latn", "sw"),
        ("nob-Latn", "no"), ("pes-Arab", "fa"),
    ],
)  # fmt: skip
def test_a_language_is_known_by_its_codes(code, short):
    assert analyzer(code).language == short
    assert analyzer(code) is analyzer(short)


def test_a_language_without_an_analyzer_gets_words_in_lower_case_and_says_so():
    unknown = analyzer("kat-Geor")
    assert not unknown.known
    assert unknown("Tbilisi, ქალაქი!") == ["tbilisi", "ქალაქი"]
    assert all(analyzer(language).known for language, _, _ in LUCENE)


def test_japanese_is_cut_in_pairs():
    assert analyzer("ja")("日本語のﾃｷｽﾄABC") == ["日本", "本語", "語の", "のテ", "テキ", "キス", "スト", "abc"]


def test_thai_is_cut_in_threes_of_letters_with_their_marks():
    assert analyzer("th-x-threes")("ที่นี่ดี AB ๑๒") == ["ที่นี่ดี", "ab", "12"]
    assert analyzer("th-x-threes")("กขคง") == ["กขค", "ขคง"]


@pytest.mark.parametrize("language", ["yor-Latn", "hau", "so", "swh-Latn", "swa-Latn", "sw-x-whitespace"])
def test_white_space_alone_cuts_where_anserini_has_no_analyzer_for_the_language(language):
    text = "Mji mkuu wa\u00a0Kenya, NAIROBI\u3000ni\x1cmji!\u0085 ilí\n"
    assert analyzer(language)(text) == ["Mji", "mkuu", "wa\u00a0Kenya,", "NAIROBI", "ni", "mji!\u0085", "ilí"]
    assert analyzer(language).name == "WhitespaceAnalyzer"


def test_a_long_word_between_white_space_is_cut_after_255_utf16_units():
    terms = analyzer("yo")("a" * 600 + " " + "\U0001f600" * 200)
    assert [len(term) for term in terms] == [255, 255, 90, 128, 72]


def test_both_ways_of_swahili_can_be_chosen_by_name():
    assert analyzer(chosen("swh-Latn", "words"))("Mji MKUU.") == ["mji", "mkuu"]
    assert analyzer(chosen("swa-Latn", "whitespace"))("Mji MKUU.") == ["Mji", "MKUU."]
    assert analyzer(chosen("yo", "words"))("Ọba,") == ["ọba"]
    assert chosen("eng-Latn", "words") == "eng-Latn"


SEGMENTED = [
    ("th-x-newmm", "pythainlp", "ภาษาไทยเป็นภาษาที่มีระดับเสียง AB ๑๒", "ภาษาไทย ภาษา ระดับเสียง ab 12"),
    ("ja-x-janome", "janome", "日本語のﾃｷｽﾄABCを食べました。サーバーが、１２", "日本語 テキスト abc 食べる サーバ 12"),
    ("zh-x-jieba", "jieba", "北京大学成立，《iPhone》the ＡＢ", "北京 大学 北京大学 成立 iphone ab"),
]
"""Languages without spaces, cut by a package: the terms that its dictionary and Lucene's filters leave."""


@pytest.mark.parametrize(("language", "package", "text", "terms"), SEGMENTED, ids=[row[0] for row in SEGMENTED])
def test_a_segmenter_gives_words(language, package, text, terms):
    pytest.importorskip(package)
    assert analyzer(language)(text) == terms.split()


def test_thai_has_its_segmenter_where_the_package_is_and_threes_where_it_is_not(monkeypatch):
    pytest.importorskip("pythainlp")
    words = analyzer("tha-Thai")
    assert words("ภาษาไทย") == ["ภาษาไทย"]
    with_package = (words.name, words.version)
    without(monkeypatch, "pythainlp")
    threes = analyzer("tha-Thai")
    assert threes("กขคง") == ["กขค", "ขคง"]
    assert (threes.name, threes.version) != with_package


def without(monkeypatch, package: str) -> None:
    """As if a package were not installed."""
    version = importlib.metadata.version

    def missing(name: str) -> str:
        if name == package:
            raise importlib.metadata.PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(importlib.metadata, "version", missing)


def test_a_chosen_analyzer_takes_the_place_of_its_own_languages(monkeypatch):
    pytest.importorskip("jieba")
    assert chosen("cmn-Hans", "jieba") == "zh-x-jieba"
    assert chosen("jpn-Jpan", "jieba") == "jpn-Jpan"
    assert analyzer(chosen("cmn-Hans", "jieba")).language == "zh"
    with pytest.raises(HarnessError, match=r'no analyzer "jeiba"; .* Did you mean "jieba"'):
        chosen("zh", "jeiba")
    without(monkeypatch, "jieba")
    with pytest.raises(HarnessError, match=r"needs the package jieba: pip install 'rerank-harness\[zh\]'"):
        chosen("en", "jieba")


def test_run_takes_an_analyzer_and_keeps_its_numbers_apart(cli: Cli, tmp_path):
    pytest.importorskip("jieba")
    folder = write_collection(tmp_path / "texts")
    words = ["run", folder, "--language", "zho", "--format", "json"]
    plain, cut = (cli(*words, *more).results()[0] for more in ([], ["--retriever-set", "analyzer=jieba"]))
    assert plain["path"] != cut["path"]
    stored = json.loads(Path(cut["path"]).read_text())["identity"]["retriever_settings"]
    assert stored["analyzer"].startswith("jieba, for search ")
    assert stored["language"] == "zh"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--retriever-set", "analyzer=standard"], 'no analyzer "standard"'),
        (["--retriever-set", "analyser=jieba"], 'bm25 has no setting "analyser"; it has analyzer. Did you mean'),
        (["--candidates", "x.trec", "--retriever-set", "analyzer=jieba"], "is for --retriever bm25"),
        (["--retriever-set", "analyzer=threes"], "is for another language than the data's (eng"),
    ],
)
def test_a_wrong_setting_of_bm25_is_one_line(cli: Cli, tmp_path, words, said):
    answer = cli("run", write_collection(tmp_path / "texts"), *words)
    assert answer.code == 2
    (line,) = [line for line in answer.err.splitlines() if line.startswith("error: ")]
    assert said in line
    assert "Traceback" not in answer.err


def test_every_analyzer_to_choose_and_its_extra_are_on_the_page_of_tasks():
    page = (ROOT / "docs" / "tasks.md").read_text("utf-8")
    assert all(f"| `{name}` |" in page for name in languages._CHOICES)
    assert all(f"rerank-harness[{segmenter.extra}]" in page for segmenter in SEGMENTERS.values())


def test_romanian_takes_both_spellings_of_s_and_t_for_one():
    assert analyzer("ro")("orașe și ţări") == analyzer("ro")("oraşe şi țări") == ["oraș", "țăr"]


def test_an_arabic_stretch_mark_alone_is_an_empty_term_as_in_lucene():
    assert analyzer("ar")("ـ") == [""]


def test_name_and_version_tell_analyzers_apart():
    assert (analyzer("en").name, analyzer("en").version) == ("EnglishAnalyzer", "1")
    assert "Snowball" in analyzer("ru").version
    assert analyzer("en").name != analyzer("de").name


def test_the_same_text_gives_the_same_terms_again():
    text = "Running runners ran; running!"
    assert analyzer("en")(text) == analyzer("en")(text) == ["run", "runner", "ran", "run"]
