from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from groove.corpora import archives, cnceleb
from groove.corpora.cnceleb import parse_name, read_cnceleb
from groove.corpora.files import resolve_audio
from groove.corpora.folder import read_folder
from groove.errors import CorpusError
from tests.miniature import DEV, EVALUATION, SECOND, names_of


def lay_out(folder: Path, **lists: tuple[str, ...]) -> tuple[Path, Path]:
    """CN-Celeb's folders and lists over empty files: listing opens none."""
    root, root2 = folder / "CN-Celeb_flac", folder / "CN-Celeb2_flac"
    given = {"dev": DEV, "evaluation": EVALUATION, "second": SECOND, **lists}
    for base, speakers in ((root, given["dev"] + given["evaluation"]), (root2, given["second"])):
        for speaker in speakers:
            (base / "data" / speaker).mkdir(parents=True, exist_ok=True)
            for stem in names_of(4):
                (base / "data" / speaker / f"{stem}.flac").touch()
    for path, lines in (
        (root / "dev" / "dev.lst", given["dev"]),
        (root2 / "spk.lst", given["second"]),
        (root / "eval/lists/enroll.lst", [f"{s}-enroll enroll/{s}-enroll.wav" for s in EVALUATION]),
        (
            root / "eval/lists/enroll.map",
            [f"{s}-enroll {s}/singing-01-001.wav" for s in EVALUATION],
        ),
        (root / "eval/lists/test.lst", [f"test/{s}-singing-01-001.wav" for s in EVALUATION]),
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return root, root2


def test_the_speakers_are_those_of_the_lists(tmp_path: Path) -> None:
    corpus = read_cnceleb(*lay_out(tmp_path))
    assert {file.speaker_id for file in corpus.files} == {*DEV, *SECOND}
    assert corpus.held_out == set(EVALUATION)
    assert len(corpus.files) == 4 * 10 and corpus.n_held_out_files == 4 * 3
    assert all(os.path.isabs(file.path) and os.path.isfile(file.path) for file in corpus.files)


def test_the_split_is_by_list_and_neither_by_number_nor_by_place(tmp_path: Path) -> None:
    """An evaluation speaker with the lowest number, a training speaker with the highest."""
    root, _ = lay_out(tmp_path, dev=("id00005", "id00998"), evaluation=("id00001", *EVALUATION))
    corpus = read_cnceleb(root)
    assert {file.speaker_id for file in corpus.files} == {"id00005", "id00998"}
    assert corpus.held_out == {"id00001", *EVALUATION}


def test_genre_and_session_are_read_from_the_right(tmp_path: Path) -> None:
    assert parse_name("live_broadcast-02-017") == ("live_broadcast", "live_broadcast-02")
    assert parse_name("id00800-live_broadcast-02-017") == ("live_broadcast", "live_broadcast-02")
    assert parse_name("singing-01-005") == ("singing", "singing-01")
    for odd in ("singing", "singing-01", "01-02-03", "", "singing-one-two", "singing-01-005b"):
        assert parse_name(odd) is None
    corpus = read_cnceleb(lay_out(tmp_path)[0])
    assert {file.genre for file in corpus.files} == {"singing", "live_broadcast", "interview"}
    ids = {file.utterance_id for file in corpus.files}
    assert "id00012-live_broadcast-01-001" in ids


def test_the_published_numbers_agree_with_each_other() -> None:
    """Sums that papers and logs give: 126,532 files, 2,793 speakers, 632,740 to train on."""
    assert sum(cnceleb.GENRES.values()) == 126_532 == 107_953 + 18_579
    assert 797 + 200 == 997 and 797 + 1_996 == 2_793 and 107_953 + 524_787 == 632_740
    assert sum(cnceleb.EVAL_GENRES.values()) == 17_777
    assert set(cnceleb.EVAL_GENRES) == set(cnceleb.GENRES)
    assert 17_755 + 3_466_537 == 3_484_292 == 196 * 17_777


def test_every_count_is_made_and_compared(tmp_path: Path) -> None:
    root, root2 = lay_out(tmp_path)
    (root / "eval/test").mkdir()
    (root / "eval/test/id00800-singing-01-001.flac").touch()
    (root / "eval/lists/trials.lst").write_text("a b 1\nc d 0\ne f 0\n")
    counts = {c.what: (c.published, c.found) for c in read_cnceleb(root, root2).counts}
    assert counts["CN-Celeb1: speakers in data/"] == (997, 9)
    assert counts["CN-Celeb1: utterances in data/"] == (126_532, 36)
    assert counts["CN-Celeb1: speakers in dev.lst"] == (797, 6)
    assert counts["CN-Celeb1: utterances of dev.lst"] == (107_953, 24)
    assert counts["CN-Celeb1: evaluation speakers in data/"] == (200, 3)
    assert counts["CN-Celeb1: their utterances in data/"] == (18_579, 12)
    assert counts["CN-Celeb1: singing in data/"] == (12_561, 18)
    assert counts["CN-Celeb1: recordings in eval/enroll/"] == (196, 0)
    assert counts["CN-Celeb1: recordings in eval/test/"] == (17_777, 1)
    assert counts["CN-Celeb1: speakers in eval/test/"] == (200, 1)
    assert counts["CN-Celeb1: singing in eval/test/"] == (2_017, 1)
    assert counts["CN-Celeb1: play in eval/test/"] == (50, 0)
    assert counts["CN-Celeb1: trials"] == (3_484_292, 3)
    assert counts["CN-Celeb1: target trials"] == (17_755, 1)
    assert counts["CN-Celeb2: speakers in spk.lst"] == (1_996, 4)
    assert counts["CN-Celeb2: utterances"] == (524_787, 16)
    assert counts["training speakers in all"] == (2_793, 10)
    assert counts["training utterances in all"] == (632_740, 40)
    assert counts["CN-Celeb1: lines of eval/lists/enroll.lst"] == (196, 3)
    assert counts["CN-Celeb1: lines of eval/lists/enroll.map"] == (196, 3)
    assert counts["CN-Celeb1: lines of eval/lists/test.lst"] == (17_777, 3)
    assert len(counts) == 41


def test_a_corpus_of_the_published_size_is_told_of_in_no_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All 651,319 names, listed from memory instead of a disk; one missing file is told of."""
    root, root2, trees = lay_out_in_full(tmp_path)
    monkeypatch.setattr(cnceleb, "folders_in", lambda folder: sorted(trees[str(folder)]))
    monkeypatch.setattr(cnceleb, "files_below", lambda folder: iter(listed(trees, str(folder))))
    corpus = read_cnceleb(root, root2)
    assert len(corpus.counts) == 41 and len(corpus.files) == 632_740
    assert [c for c in corpus.counts if c.found != c.published] == [] == list(corpus.warnings)
    gone = trees[str(root / "data")]["id00012"].pop()
    shorter = read_cnceleb(root).counts
    genre = gone.split("-")[0]
    assert [(c.what, c.published - c.found) for c in shorter if c.found != c.published] == [
        ("CN-Celeb1: utterances in data/", 1),
        ("CN-Celeb1: utterances of dev.lst", 1),
        (f"CN-Celeb1: {genre} in data/", 1),
    ]


Trees = dict[str, dict[str, list[str]]]  # a folder -> the folders in it -> their files


def lay_out_in_full(folder: Path) -> tuple[Path, Path, Trees]:
    """Lists of CN-Celeb's real length on disk, and its files' names by folder."""
    root, root2 = folder / "CN-Celeb_flac", folder / "CN-Celeb2_flac"
    names = [f"{g}-{i:05d}-001.flac" for g, n in cnceleb.GENRES.items() for i in range(n)]
    dev, evaluation = [f"id{i:05d}" for i in range(797)], [f"id{i:05d}" for i in range(800, 1_000)]
    second = [f"id{i:05d}" for i in range(10_000, 11_996)]
    tests = [
        f"{evaluation[i % 200]}-{name}"
        for i, name in enumerate(
            f"{g}-{i:05d}-001.flac" for g, n in cnceleb.EVAL_GENRES.items() for i in range(n)
        )
    ]
    trees: Trees = {
        str(root / "data"): dealt(names[:107_953], dev) | dealt(names[107_953:], evaluation),
        str(root2 / "data"): dealt([f"vlog-{i:06d}-001.flac" for i in range(524_787)], second),
        str(root / "eval"): {
            "enroll": [f"{speaker}-enroll.flac" for speaker in evaluation[:196]],
            "test": sorted(tests),
        },
    }
    for base, speakers in ((root, [*dev, *evaluation]), (root2, second)):
        (base / "data").mkdir(parents=True)
        assert set(speakers) == set(trees[str(base / "data")])
    lists = root / "eval/lists"
    for path, lines in (
        (root / "dev" / "dev.lst", dev),
        (root2 / "spk.lst", second),
        (lists / "enroll.lst", [f"{s}-enroll enroll/{s}-enroll.wav" for s in evaluation[:196]]),
        (lists / "enroll.map", [f"{s}-enroll {s}/vlog-01-001.wav" for s in evaluation[:196]]),
        (lists / "test.lst", [f"test/{name}" for name in tests]),
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    for name in ("enroll", "test"):
        (root / "eval" / name).mkdir()
    (lists / "trials.lst").write_bytes(b"e t 1\n" * 17_755 + b"e t 0\n" * 3_466_537)
    return root, root2, trees


def dealt(names: list[str], speakers: list[str]) -> dict[str, list[str]]:
    return {speaker: names[i :: len(speakers)] for i, speaker in enumerate(speakers)}


def listed(trees: Trees, folder: str) -> list[str]:
    parent, _, name = folder.rpartition("/")
    return trees[parent][name]


@pytest.mark.parametrize("name", ["dev/dev.lst", "data"])
def test_without_the_list_or_the_data_it_is_refused(tmp_path: Path, name: str) -> None:
    root, _ = lay_out(tmp_path)
    (root / name).rename(tmp_path / "elsewhere")
    with pytest.raises(CorpusError, match=rf"{name}.*cn-celeb_v2\.tar\.gz.*openslr"):
        read_cnceleb(root)


def test_what_is_missing_is_named_with_what_to_download(tmp_path: Path) -> None:
    root, root2 = lay_out(tmp_path)
    with pytest.raises(CorpusError, match=r"nowhere: no such folder; download cn-celeb_v2"):
        read_cnceleb(tmp_path / "nowhere")
    with pytest.raises(CorpusError, match=r"nowhere: no .*download cn-celeb2_v2.* without --root2"):
        read_cnceleb(root, tmp_path / "nowhere")
    (root2 / "spk.lst").unlink()
    with pytest.raises(CorpusError, match=r"spk\.lst: no such list, and only it says who may"):
        read_cnceleb(root, root2)


@pytest.mark.parametrize(
    ("lists", "message"),
    [
        ({"dev": (*DEV, "id00803")}, r"dev\.lst and eval/lists/ both name id00803 \(1 speakers"),
        ({"second": (*SECOND, "id00800")}, r"names id00800, who is in the evaluation of CN-Celeb1"),
        ({"second": DEV}, r"names id00000, who is in dev\.lst too \(6 speakers"),
        ({"dev": (*DEV, "12")}, r"dev\.lst:7: '12'; wanted a speaker id such as id00012"),
        ({"dev": ()}, r"dev\.lst: empty"),
    ],
)
def test_lists_that_contradict_each_other_are_refused(
    tmp_path: Path, lists: dict[str, tuple[str, ...]], message: str
) -> None:
    with pytest.raises(CorpusError, match=message):
        read_cnceleb(*lay_out(tmp_path, **lists))


def test_what_is_odd_is_a_warning_with_names(tmp_path: Path) -> None:
    root, root2 = lay_out(tmp_path)
    (root / "dev/dev.lst").write_text("".join(f"{s}\n" for s in (*DEV, "id00444")))
    (root2 / "data/id19999").mkdir()
    (root / "data/id00012/podcast-01-001.flac").touch()
    (root / "data/id00012/take two.flac").touch()
    (root / "data/id00012/notes.txt").touch()
    (root / "data/id00012/singing-01-001.wav").touch()
    (root / "eval/lists/test.lst").unlink()
    corpus = read_cnceleb(root, root2)
    said = "\n".join(corpus.warnings)
    assert "speakers of dev.lst without a folder in data/: 1 (id00444)" in said
    assert "that spk.lst does not name, unused: 1 (id19999)" in said
    assert "genres that CN-Celeb does not have: 1 (podcast)" in said
    assert "names without genre and session: 1 (id00012-take two)" in said
    assert "no eval/lists/test.lst" in said
    assert {(os.path.basename(d.path), d.kind) for d in corpus.dropped} == {
        ("notes.txt", "not audio by name"),
        ("singing-01-001.wav", "twice"),
    }


@contextmanager
def reversed_listing(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A file system that lists everything the other way round."""
    real = os.scandir

    @contextmanager
    def scandir(path: str) -> Iterator[list[os.DirEntry[str]]]:
        with real(path) as entries:
            yield sorted(entries, key=lambda e: e.name, reverse=True)

    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", scandir)
        yield


def test_the_order_of_the_file_system_does_not_matter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    roots = lay_out(tmp_path)
    for root, speaker in zip(roots, ("id00012", "id10007"), strict=True):
        (root / "data" / speaker / "singing-01-001.wav").touch()  # which of two names counts, too
    usual, usual_folder = read_cnceleb(*roots), read_folder(roots[1] / "data")
    with reversed_listing(monkeypatch):
        assert read_cnceleb(*roots) == usual
        assert read_folder(roots[1] / "data") == usual_folder


def test_archives_are_compared_with_their_published_md5(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sum of "abc" is RFC 1321's; the real archives are 90 GB."""
    abc = "900150983cd24fb0d6963f7d28e17f72"
    monkeypatch.setitem(archives.MD5, "cn-celeb2_v2.tar.gz", abc)
    for piece, content in (("aa", b"a"), ("ab", b"b"), ("ac", b"c")):
        (tmp_path / f"cn-celeb2_v2.tar.gz{piece}").write_bytes(content)
    read: list[int] = []
    (missing,) = archives.check_archives(archives.find_archives(tmp_path), read.append)
    assert missing.startswith("cn-celeb_v2.tar.gz: not there") and sum(read) == 3
    (tmp_path / "cn-celeb_v2.tar.gz").write_bytes(b"abc")
    (wrong,) = archives.check_archives(archives.find_archives(tmp_path))
    assert f"cn-celeb_v2.tar.gz: MD5 {abc}, published 7ab1b214" in wrong


def test_a_tree_of_speakers_is_read_at_any_depth(tmp_path: Path) -> None:
    for name in ("zh/anna/1.wav", "zh/anna/v1/2.M4A", "zh/anna/v1/2.wav", "en/bob/3.opus"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "en/bob/3.txt").touch()
    (tmp_path / "loose.wav").touch()
    deep = read_folder(tmp_path, speaker_depth=2)
    found = [(f.speaker_id, f.utterance_id, f.session) for f in deep.files]
    assert found == [
        ("en/bob", "en/bob/3", None),
        ("zh/anna", "zh/anna/1", None),
        ("zh/anna", "zh/anna/v1/2", "v1"),
    ]
    assert {(os.path.basename(d.path), d.kind) for d in deep.dropped} == {
        ("3.txt", "not audio by name"),
        ("2.wav", "twice"),
        ("loose.wav", "no speaker"),
    }
    shallow = read_folder(tmp_path)
    assert {(f.speaker_id, f.session) for f in shallow.files} >= {("zh", "anna"), ("en", "bob")}


def test_a_folder_without_speakers_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="no such folder"):
        read_folder(tmp_path / "nowhere")
    (tmp_path / "a.wav").touch()
    with pytest.raises(CorpusError, match="no recordings in speakers' folders"):
        read_folder(tmp_path)


def test_a_recording_is_found_under_either_suffix(tmp_path: Path) -> None:
    (tmp_path / "a.flac").touch()
    (tmp_path / "b.wav").touch()
    (tmp_path / "id1.2-x.flac").touch()
    assert resolve_audio(tmp_path / "a.wav") == tmp_path / "a.flac"
    assert resolve_audio(tmp_path / "a.flac") == tmp_path / "a.flac"
    assert resolve_audio(tmp_path / "b.flac") == tmp_path / "b.wav"
    assert resolve_audio(tmp_path / "id1.2-x.wav") == tmp_path / "id1.2-x.flac"
    assert resolve_audio(tmp_path / "id1.2-x") == tmp_path / "id1.2-x.flac"
    assert resolve_audio(tmp_path / "c.wav") is None
    assert resolve_audio(tmp_path) is None


def test_cn_celeb_is_not_read_as_any_folder(tmp_path: Path) -> None:
    """Its data/ holds the evaluation speakers, whom only its own reader keeps out."""
    root, root2 = lay_out(tmp_path)
    for given in (root, root / "data"):
        with pytest.raises(CorpusError, match=r"groove prepare cnceleb --root .*CN-Celeb_flac "):
            read_folder(given)
    assert len(read_folder(root2 / "data").files) == 4 * len(SECOND)


def test_cn_celeb_is_known_through_links_and_below_the_root(tmp_path: Path) -> None:
    root, root2 = lay_out(tmp_path / "there")
    speaker = root / "data" / EVALUATION[0]
    link = tmp_path / "voices"
    link.symlink_to(root / "data", target_is_directory=True)
    places = {name: tmp_path / name for name in ("corpora", "speakers", "files", "own")}
    for place in places.values():
        (place / "ann").mkdir(parents=True)
        (place / "ann" / "a.wav").touch()
    (places["corpora"] / "linked").symlink_to(root / "data", target_is_directory=True)
    (places["speakers"] / speaker.name).symlink_to(speaker, target_is_directory=True)
    (places["files"] / "ann" / "b.flac").symlink_to(next(speaker.iterdir()))
    with pytest.raises(CorpusError, match="voices: belongs to CN-Celeb"):
        read_folder(link)
    for name in ("corpora", "speakers", "files"):
        for depth in (1, 2):
            with pytest.raises(CorpusError, match=r"belongs to CN-Celeb.* --root .*CN-Celeb_flac "):
                read_folder(places[name], speaker_depth=depth)
    for depth in (1, 2, 3, 4):
        with pytest.raises(CorpusError, match=r"belongs to CN-Celeb.* --root .*CN-Celeb_flac "):
            read_folder(tmp_path / "there", speaker_depth=depth)
    shutil.rmtree(root / "data")  # the evaluation alone is not to be trained on either
    (root / "eval" / "test").mkdir(exist_ok=True)
    (root / "eval" / "test" / "id00800-singing-01-001.wav").touch()
    with pytest.raises(CorpusError, match="belongs to CN-Celeb"):
        read_folder(root / "eval")
    (places["own"] / "eval" / "lists").mkdir(parents=True)  # a folder of that name is no corpus
    assert len(read_folder(places["own"]).files) == 1
    (places["own"] / "id10001").symlink_to(root2 / "data" / SECOND[0], target_is_directory=True)
    assert len(read_folder(places["own"]).files) == 5


def test_cn_celeb2_alone_has_its_genres_and_nobody_of_cn_celeb1(tmp_path: Path) -> None:
    root, root2 = lay_out(tmp_path)
    corpus = read_cnceleb(None, root2)
    assert corpus.name == "CN-Celeb2" and {f.speaker_id for f in corpus.files} == set(SECOND)
    assert all(file.genre for file in corpus.files)
    assert not [count for count in corpus.counts if "CN-Celeb1" in count.what]
    with pytest.raises(CorpusError, match="wanted --root or --root2"):
        read_cnceleb(None, None)
    (root / "spk.lst").write_text("id00012\n", encoding="utf-8")
    with pytest.raises(CorpusError, match="names id00012, who is of CN-Celeb1"):
        read_cnceleb(None, root)


def test_a_name_that_is_not_utf8_is_dropped_with_its_reason(tmp_path: Path) -> None:
    root, _ = lay_out(tmp_path)
    for folder in (root / "data" / DEV[0], tmp_path / "plain" / "anna"):
        folder.mkdir(parents=True, exist_ok=True)
        try:
            open(os.path.join(os.fsencode(folder), b"\xff\xe9.wav"), "wb").close()
        except OSError:
            pytest.skip("this file system takes no such names")
    (tmp_path / "plain" / "anna" / "1.wav").touch()
    for corpus in (read_folder(tmp_path / "plain"), read_cnceleb(root)):
        (lost,) = corpus.dropped
        assert lost.kind == "name not UTF-8" and lost.path.endswith("\\udcff\\udce9.wav")
        assert all(file.path.encode() for file in corpus.files)
