from __future__ import annotations

from collections import Counter
from itertools import combinations
from pathlib import Path

import pytest

from groove.errors import ManifestError, SettingsError
from groove.manifest import Utterance
from groove.trials import Trial, all_pairs, draw_trials, read_trials, write_trials


def utterances(*counts: int) -> list[Utterance]:
    """Speaker 0 has counts[0] utterances, and so on; interleaved, not sorted by speaker."""
    listed = [
        Utterance(f"s{k}-u{i}", f"s{k}", Path(f"{k}/{i}.wav"), 1.0)
        for k, count in enumerate(counts)
        for i in range(count)
    ]
    return sorted(listed, key=lambda u: u.utterance_id[::-1])


def pair(trial: Trial) -> frozenset[str]:
    return frozenset((trial.enrollment_id, trial.test_id))


def check_labels(trials: list[Trial], listed: list[Utterance]) -> None:
    speaker = {u.utterance_id: u.speaker_id for u in listed}
    assert trials
    for trial in trials:
        assert trial.is_target == (speaker[trial.enrollment_id] == speaker[trial.test_id])


def test_all_pairs_are_all_pairs() -> None:
    listed = utterances(3, 1, 2)
    trials = all_pairs(listed)
    expected = [(a.utterance_id, b.utterance_id) for a, b in combinations(listed, 2)]
    assert [(t.enrollment_id, t.test_id) for t in trials] == expected
    check_labels(trials, listed)
    assert sum(t.is_target for t in trials) == 3 + 0 + 1
    assert all_pairs([]) == all_pairs(listed[:1]) == []


def test_asking_for_more_than_there_is_gives_every_pair_once() -> None:
    for counts in ((), (1,), (4,), (1, 1, 1), (3, 1, 2, 5)):
        listed = utterances(*counts)
        drawn = draw_trials(listed, 10**6, 10**6, seed=1)
        assert sorted(map(sorted, map(pair, drawn))) == sorted(
            map(sorted, map(pair, all_pairs(listed)))
        )
        if drawn:
            check_labels(drawn, listed)


@pytest.mark.parametrize(("n_target", "n_nontarget"), [(5, 7), (40, 900), (0, 3), (3, 0)])
def test_drawn_trials_are_distinct_and_labelled(n_target: int, n_nontarget: int) -> None:
    listed = utterances(*range(1, 12))
    trials = draw_trials(listed, n_target, n_nontarget, seed=4)
    assert [t.is_target for t in trials] == [True] * n_target + [False] * n_nontarget
    check_labels(trials, listed)
    assert len(set(map(pair, trials))) == len(trials)
    assert all(len(pair(t)) == 2 for t in trials)


def test_the_same_seed_gives_the_same_list_whatever_the_order() -> None:
    listed = utterances(4, 5, 6)
    trials = draw_trials(listed, 6, 8, seed=7)
    assert draw_trials(listed[::-1], 6, 8, seed=7) == trials
    assert draw_trials(listed, 6, 8, seed=8) != trials


def test_the_list_stays_the_same_in_years_to_come() -> None:
    """Written down once: a change of numpy or of this code must not change published lists."""
    for (n_target, n_nontarget), golden in GOLDEN.items():
        trials = draw_trials(utterances(3, 3, 3), n_target, n_nontarget, seed=0)
        assert [f"{t.enrollment_id} {t.test_id}" for t in trials] == golden


@pytest.mark.parametrize(("n_target", "n_nontarget"), [(2, 2), (3, 8), (6, 20)])
def test_every_pair_is_equally_likely(n_target: int, n_nontarget: int) -> None:
    listed = utterances(2, 3, 4)  # 10 target pairs, 26 non-target pairs
    seen: Counter[frozenset[str]] = Counter()
    n_draws = 2_000
    for seed in range(n_draws):
        seen.update(map(pair, draw_trials(listed, n_target, n_nontarget, seed)))
    assert len(seen) == 36
    for trial in all_pairs(listed):
        share = n_target / 10 if trial.is_target else n_nontarget / 26
        std = (n_draws * share * (1 - share)) ** 0.5
        assert abs(seen[pair(trial)] - n_draws * share) < 4.5 * std


def test_a_recording_is_not_compared_with_itself_under_two_names() -> None:
    listed = [*utterances(2, 2), Utterance("copy", "s9", Path("0/1.wav"), 1.0)]
    for draw in (all_pairs, lambda u: draw_trials(u, 1, 1)):
        with pytest.raises(ManifestError, match=r"share the path '0/1.wav'; a recording cannot"):
            draw(listed)
        with pytest.raises(ManifestError, match="share the utterance_id 's0-u0'"):
            draw([Utterance("s0-u0", "s", Path("x"), 1.0), *utterances(2, 2)])
    with pytest.raises(SettingsError, match="wanted >= 0"):
        draw_trials(utterances(2), -1, 1)


@pytest.mark.parametrize("form", ["voxceleb", "kaldi", "csv"])
def test_every_form_is_read_as_it_was_written(tmp_path: Path, form: str) -> None:
    trials = [Trial("张三/1.wav", "b", True), Trial("b", "c", False)]
    path = tmp_path / "new" / "trials.txt"
    write_trials(iter(trials), path, form)  # type: ignore[arg-type]
    assert read_trials(path) == trials
    assert read_trials(path, form) == trials  # type: ignore[arg-type]


def test_the_forms_are_those_of_the_field(tmp_path: Path) -> None:
    def texts(form: str) -> str:
        write_trials([Trial("a", "b", True), Trial("a", "c", False)], tmp_path / "t", form)  # type: ignore[arg-type]
        return (tmp_path / "t").read_text()

    assert texts("voxceleb") == "1 a b\n0 a c\n"
    assert texts("kaldi") == "a b target\na c nontarget\n"
    assert texts("csv") == "enrollment_id,test_id,is_target\na,b,1\na,c,0\n"
    (tmp_path / "cnceleb").write_text("id00800-enroll test/id00800-singing-01.wav 1\r\n\nx y 0\n")
    assert read_trials(tmp_path / "cnceleb") == [
        Trial("id00800-enroll", "test/id00800-singing-01.wav", True),
        Trial("x", "y", False),
    ]


def test_csv_ids_may_hold_commas_quotes_and_spaces(tmp_path: Path) -> None:
    trials = [Trial('a, "b"', "my voice.wav", False)]
    write_trials(trials, tmp_path / "t.csv", "csv")
    assert read_trials(tmp_path / "t.csv") == trials
    for form in ("kaldi", "voxceleb"):
        with pytest.raises(ManifestError, match=f"cannot stand in a {form} list.*write csv"):
            write_trials(trials, tmp_path / "t.txt", form)
    for odd in ("", " a", "a\nb"):
        with pytest.raises(ManifestError, match="cannot stand in a csv list; rename it$"):
            write_trials([Trial(odd, "b", True)], tmp_path / "t.csv", "csv")


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("1 a b\n1 a\n", "t.txt:2: 2 fields in '1 a'; wanted 3"),
        ("1 a b\n\n2 a b\n", "t.txt:3: label '2'; wanted one of 1, 0"),
        ("1 a b\ntarget a b\n", "t.txt:2: label 'target'"),
        ("a b target\na b same\n", "t.txt:2: label 'same'; wanted one of 1, 0, target, nontarget"),
        ("a b target\na a target\n", "t.txt:2: 'a' is compared with itself"),
        ("1 a 0\n", "t.txt:1: '1 a 0' is neither .* or could be two of them; name the form"),
        ("a b c\n", "t.txt:1: 'a b c' is neither"),
        ("a b\n", "t.txt:1: 'a b' is neither"),
        ("a,b,1\n", "t.txt:1: header 'a,b,1'; wanted enrollment_id,test_id,is_target"),
        ("enrollment_id,test_id,is_target\na,b,target\n", "t.txt:2: label 'target'"),
        ("enrollment_id,test_id,is_target\na,,1\n", "t.txt:2: an empty id"),
        ("enrollment_id,test_id,is_target\n", "t.txt: no trial in it"),
        ("\n \n", "t.txt: no trial in it"),
    ],
)
def test_a_malformed_line_is_named(tmp_path: Path, text: str, where: str) -> None:
    (tmp_path / "t.txt").write_text(text)
    with pytest.raises(ManifestError, match=where):
        read_trials(tmp_path / "t.txt")


def test_no_list_and_no_trial(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="No such file"):
        read_trials(tmp_path / "nowhere.txt")
    with pytest.raises(ManifestError, match="no trial to write"):
        write_trials([], tmp_path / "t.txt")
    (tmp_path / "t.txt").write_text("1 a 0\n")
    assert read_trials(tmp_path / "t.txt", "voxceleb") == [Trial("a", "0", True)]


GOLDEN = {
    (2, 3): ["s0-u0 s0-u1", "s1-u1 s1-u2", "s0-u0 s2-u0", "s0-u1 s1-u1", "s0-u1 s2-u0"],
    (4, 10): [
        "s0-u0 s0-u2",
        "s0-u1 s0-u2",
        "s1-u0 s1-u2",
        "s2-u0 s2-u2",
        "s0-u0 s1-u0",
        "s0-u0 s1-u2",
        "s0-u1 s2-u1",
        "s0-u1 s2-u2",
        "s0-u2 s2-u1",
        "s0-u2 s2-u2",
        "s1-u0 s2-u1",
        "s1-u0 s2-u2",
        "s1-u2 s2-u1",
        "s1-u2 s2-u2",
    ],
}
