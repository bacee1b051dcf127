"""From recordings to a report, with a model in ten lines; numbers computed again by hand."""

from __future__ import annotations

import hashlib
import json
import re
import wave
from pathlib import Path

import numpy as np
import pytest

from groove.audio import read_audio
from groove.bench import wav_bytes
from groove.embedder import Embedder
from groove.errors import ManifestError, NoSpeech, ScoringError
from groove.evaluation.cache import EmbeddingCache
from groove.evaluation.evaluate import evaluate
from groove.evaluation.findings import Report
from groove.evaluation.measures import Conditions, TrialScores, cells, compare, measure
from groove.evaluation.report import to_json, write_report
from groove.evaluation.systems import Settings, System
from groove.evaluation.trial_sets import from_list, from_manifest, from_val_meta
from groove.evaluation.val_meta import read_val_meta
from groove.manifest import Utterance, write_manifest
from groove.metrics import act_dcf, auc, cllr, eer, min_dcf
from groove.trials import Trial, write_trials
from tests.conftest import VOICE_A, VOICE_A2, VOICE_B
from tests.fakes import FakeEncoder

PIECE_S = 1.6


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> list[Utterance]:
    """Two voices in pieces, two more made by playing them faster; Chinese names and genres."""
    folder = tmp_path_factory.mktemp("corpus")
    sources = {"张三": [VOICE_A, VOICE_A2], "李四": [VOICE_B]}
    found: list[Utterance] = []
    detector = Embedder(FakeEncoder())
    for speaker, paths in sources.items():
        whole = np.concatenate([read_audio(path) for path in paths])
        for name, step in ((speaker, 1.0), (f"{speaker}-快", 1.3)):
            voice = np.interp(np.arange(0, len(whole) - 1, step), np.arange(len(whole)), whole)
            n = round(PIECE_S * 16_000)
            for i in range(6):
                piece = voice[i * n : (i + 1) * n].astype(np.float32)
                if len(piece) < n:
                    break
                path = folder / f"{len(found):02d}.wav"
                path.write_bytes(wav_bytes(piece))
                if detector.examine(path).speech.speech_s < 0.7:
                    continue  # a pause
                genre = "访谈" if i % 2 else "唱歌"
                found.append(Utterance(f"{name}-{i}", name, path, PIECE_S, {"genre": genre}))
    assert len(found) >= 10
    return found


@pytest.fixture(scope="module")
def manifest(corpus: list[Utterance], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("lists") / "测试.jsonl"
    write_manifest(corpus, path)
    return path


def run(manifest: Path, *encoders: FakeEncoder, **settings: object) -> Report:
    systems = [System(e.card.name, Embedder(e)) for e in encoders or (FakeEncoder(),)]
    return evaluate(systems, [from_manifest(manifest)], Settings(n_draws=50, **settings))  # type: ignore[arg-type]


def by_hand(corpus: list[Utterance]) -> tuple[list[float], list[float]]:
    embedder = Embedder(FakeEncoder())
    embeddings = [embedder.embed(u.path) for u in corpus]
    target, nontarget = [], []
    for i, a in enumerate(corpus):
        for j in range(i + 1, len(corpus)):
            score = float(embeddings[i].astype(float) @ embeddings[j].astype(float))
            (target if a.speaker_id == corpus[j].speaker_id else nontarget).append(score)
    return target, nontarget


def test_the_metrics_are_those_of_the_scores(corpus: list[Utterance], manifest: Path) -> None:
    (system,) = run(manifest).systems
    target, nontarget = by_hand(corpus)
    found = system.measured
    assert (found.n_target, found.n_nontarget) == (len(target), len(nontarget))
    assert found.n_speakers == len({u.speaker_id for u in corpus})
    assert found.metrics["eer"].value == pytest.approx(eer(target, nontarget), abs=1e-9)
    assert found.metrics["auc"].value == pytest.approx(auc(target, nontarget), abs=1e-9)
    for p in (0.01, 0.05):
        wanted = min_dcf(target, nontarget, p)
        assert found.metrics[f"min_dcf_{p:g}"].value == pytest.approx(wanted, abs=1e-9)
    for interval in found.metrics.values():
        assert interval.low <= interval.high and interval.n_draws == 50
    assert system.exclusions.failed == () and system.exclusions.n_recordings == len(corpus)


def test_llrs_come_from_the_card_and_only_for_scores_that_it_was_made_for(
    corpus: list[Utterance], manifest: Path
) -> None:
    (system,) = run(manifest).systems
    card, embedder = FakeEncoder().card, Embedder(FakeEncoder())
    target, nontarget = [], []
    found = [embedder.examine(u.path) for u in corpus]
    for i, a in enumerate(corpus):
        for j in range(i + 1, len(corpus)):
            score = float(found[i].embedding.astype(float) @ found[j].embedding.astype(float))
            speech = min(found[i].speech.speech_s, found[j].speech.speech_s)
            same = a.speaker_id == corpus[j].speaker_id
            (target if same else nontarget).append(card.calibration.llr(score, speech))
    metrics = system.measured.metrics
    assert metrics["cllr"].value == pytest.approx(cllr(target, nontarget), abs=1e-6)
    assert metrics["act_dcf_0.01"].value == pytest.approx(act_dcf(target, nontarget, 0.01))
    (plain,) = run(manifest, FakeEncoder(calibration=None)).systems
    assert not {"cllr", "act_dcf_0.01"} & plain.measured.metrics.keys()


def test_a_better_model_is_called_better_and_the_same_one_is_not(
    corpus: list[Utterance], manifest: Path
) -> None:
    class Deaf(FakeEncoder):
        """Hears the level of the lowest bands alone."""

        def __call__(self, waveforms: np.ndarray) -> np.ndarray:
            out = super().__call__(waveforms)
            out[:, 1:] = np.arange(1, 8)
            return out

    same = run(manifest, FakeEncoder(), FakeEncoder(name="again"))
    (pair,) = same.pairs
    assert all(c.better == "none" and c.interval.difference == 0 for c in pair.comparisons)
    (pair,) = run(manifest, Deaf(name="deaf"), FakeEncoder()).pairs
    (c,) = [c for c in pair.comparisons if c.metric == "eer"]
    assert c.interval.difference == pytest.approx(c.interval.b - c.interval.a)
    assert c.better == "none" and c.reason.startswith("4 speakers with target trials; a verdict")


def test_models_that_refuse_different_recordings_are_compared_on_the_common_trials(
    manifest: Path, corpus: list[Utterance]
) -> None:
    speech = sorted(Embedder(FakeEncoder()).examine(u.path).speech.speech_s for u in corpus)
    strict = FakeEncoder(name="strict", min_speech_s=speech[1])
    report = run(manifest, FakeEncoder(), strict)
    whole, part = report.systems
    assert len(part.exclusions.failed) >= 1 and "too little speech" in part.exclusions.failed[0][1]
    assert report.pairs[0].n_trials == int((~np.isnan(part.scores)).sum()) < len(whole.scores)
    assert part.exclusions.n_failed_trials == len(part.scores) - report.pairs[0].n_trials


def test_cllr_is_compared_on_the_common_trials_or_the_reason_is_given(
    manifest: Path, corpus: list[Utterance], tmp_path: Path
) -> None:
    speech = sorted(Embedder(FakeEncoder()).examine(u.path).speech.speech_s for u in corpus)
    strict = FakeEncoder(name="strict", min_speech_s=speech[1])
    report = run(manifest, FakeEncoder(), strict)
    (pair,) = report.pairs
    (c,) = [c for c in pair.comparisons if c.metric == "cllr"]
    whole, part = report.systems
    kept = ~np.isnan(part.scores)
    target = whole.table.is_target
    assert whole.llrs is not None and not kept.all()
    common = cllr(whole.llrs[kept & target], whole.llrs[kept & ~target])
    assert c.interval.a == pytest.approx(common, abs=1e-9)
    assert c.interval.b == pytest.approx(part.measured.metrics["cllr"].value, abs=1e-9)
    assert pair.unavailable == {}
    report = run(manifest, FakeEncoder(), FakeEncoder(name="plain", calibration=None))
    (pair,) = report.pairs
    assert "cllr" not in {c.metric for c in pair.comparisons}
    assert "plain has no calibration" in pair.unavailable["cllr"]
    write_report(report, tmp_path, figures=False)
    for name in ("report.html", "report.md", "metrics.txt"):
        text = (tmp_path / name).read_text(encoding="utf-8")
        assert "not available: Cllr, bits: plain has no calibration" in text, name


def picky(name: str, *unheard: Utterance) -> System:
    """A model that hears nothing in some recordings."""

    class Picky(Embedder):
        def examine(self, source: object, *args: object) -> object:
            if source in [u.path for u in unheard]:
                raise NoSpeech("nothing heard")
            return super().examine(source, *args)  # type: ignore[arg-type]

    encoder = FakeEncoder()
    encoder.model_hash = name.ljust(64, "0")  # another model, so that no cache answers for it
    return System(name, Picky(encoder))


def test_a_model_that_loses_a_class_of_trials_does_not_cost_the_report(
    corpus: list[Utterance], tmp_path: Path
) -> None:
    """Whoever hears only one recording of a speaker has no target trial left."""
    first = [u for u in corpus if u.speaker_id == corpus[0].speaker_id][:2]
    other = next(u for u in corpus if u.speaker_id != corpus[0].speaker_id)
    write_manifest([*first, other], tmp_path / "m.jsonl")
    systems = [System("fine", Embedder(FakeEncoder())), picky("picky", first[0])]
    trial_set = from_manifest(tmp_path / "m.jsonl")
    report = evaluate(systems, [trial_set], Settings(n_draws=10))
    assert [s.name for s in report.systems] == ["fine"]
    (lost,) = report.unmeasured
    assert lost.name == "picky" and "0 target and 1 non-target trials are left" in lost.reason
    assert "nothing heard" in lost.reason
    (pair,) = report.pairs
    assert pair.comparisons == () and pair.n_trials == 1
    assert set(pair.unavailable) == {"eer", "min_dcf_0.01", "min_dcf_0.05", "cllr"}
    assert "0 target and 1 non-target trials could be scored by both" in pair.unavailable["eer"]
    write_report(report, tmp_path / "out", figures=False)
    for name in ("report.html", "report.md", "metrics.txt"):
        text = (tmp_path / "out" / name).read_text(encoding="utf-8")
        assert "NOT measured: picky: 0 target" in text and "not available: EER" in text, name
    values = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert values["unmeasured"][0]["name"] == "picky"
    assert {c["metric"]: c["value_a"] for c in values["comparisons"]}["eer"] is None
    assert "nothing heard" in (tmp_path / "out" / "failed.jsonl").read_text()
    with pytest.raises(ScoringError, match="picky: 0 target and 1 non-target trials are left"):
        evaluate(systems[1:], [trial_set], Settings(n_draws=10))


def test_common_trials_without_a_class_do_not_cost_the_report(
    corpus: list[Utterance], tmp_path: Path
) -> None:
    """Each model can be measured by itself, but they share no target trial."""
    own = [u for u in corpus if u.speaker_id == corpus[0].speaker_id][:4]
    other = next(u for u in corpus if u.speaker_id != corpus[0].speaker_id)
    assert len(own) == 4
    write_manifest([*own, other], tmp_path / "m.jsonl")

    systems = [picky("a", *own[:2]), picky("b", *own[2:])]
    report = evaluate(systems, [from_manifest(tmp_path / "m.jsonl")], Settings(n_draws=10))
    assert len(report.systems) == 2 and report.unmeasured == ()
    assert report.pairs[0].comparisons == () and report.pairs[0].n_trials == 0
    assert "0 target and 0 non-target trials" in report.pairs[0].unavailable["cllr"]


def test_a_missing_file_is_counted_and_strict_refuses_it(
    corpus: list[Utterance], tmp_path: Path
) -> None:
    gone = Utterance("gone", corpus[0].speaker_id, tmp_path / "gone.wav", 1.0)
    write_manifest([*corpus, gone], tmp_path / "m.jsonl")
    (system,) = run(tmp_path / "m.jsonl").systems
    left_out = system.exclusions
    assert left_out.missing_files == (str(tmp_path / "gone.wav"),)
    assert left_out.n_missing_trials == len(corpus) and left_out.n_failed_trials == 0
    with pytest.raises(ManifestError, match=r"1 files are missing \(.*gone.wav\)"):
        run(tmp_path / "m.jsonl", strict=True)


def test_silence_is_a_counted_failure_to_acquire(corpus: list[Utterance], tmp_path: Path) -> None:
    silence = tmp_path / "silence.wav"
    with wave.open(str(silence), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(bytes(64_000))
    quiet = Utterance("silence", corpus[0].speaker_id, silence, 2.0)
    write_manifest([*corpus, quiet], tmp_path / "m.jsonl")
    report = run(tmp_path / "m.jsonl")
    ((path, reason),) = report.systems[0].exclusions.failed
    assert path == str(silence) and "no speech" in reason
    assert report.systems[0].exclusions.n_failed_trials == len(corpus)
    rate = report.systems[0].exclusions.failure_rate
    n_own = 1 + sum(u.speaker_id == corpus[0].speaker_id for u in corpus)
    assert rate is not None and rate.value == pytest.approx(1 / (len(corpus) + 1))
    assert rate.low == 0 and rate.value < rate.high <= 1 / n_own  # that speaker alone, at most
    write_report(report, tmp_path / "out", figures=False)
    assert json.loads((tmp_path / "out" / "failed.jsonl").read_text())["reason"] == reason
    assert "failure to acquire 1 of" in (tmp_path / "out" / "report.md").read_text()
    write_manifest([quiet, corpus[0]], tmp_path / "only.jsonl")
    with pytest.raises(ManifestError, match="1 speakers give 1 target and 0 non-target pairs"):
        run(tmp_path / "only.jsonl")
    other = [u for u in corpus if u.speaker_id != corpus[0].speaker_id][0]
    write_manifest([quiet, corpus[0], other], tmp_path / "three.jsonl")
    with pytest.raises(ScoringError, match="0 target and 1 non-target trials are left"):
        run(tmp_path / "three.jsonl")


def test_cohort_and_calibration_must_hold_other_speakers_and_recordings(
    manifest: Path, corpus: list[Utterance]
) -> None:
    with pytest.raises(ManifestError, match="cohort: speaker .* is in the trials"):
        run(manifest, cohort=tuple(corpus), as_norm=True)
    with pytest.raises(ManifestError, match="calibration set: speaker"):
        run(manifest, calibration_set=from_manifest(manifest))
    renamed = tuple(Utterance(u.utterance_id, f"x{u.speaker_id}", u.path, 1.0) for u in corpus)
    with pytest.raises(ManifestError, match="cohort: .* is a recording of the trials"):
        run(manifest, cohort=renamed, as_norm=True)


def test_cohort_and_calibration_set_must_differ_as_well(
    corpus: list[Utterance], tmp_path: Path
) -> None:
    first, second, third, fourth = sorted({u.speaker_id for u in corpus})
    test = [u for u in corpus if u.speaker_id in (first, second)]
    rest = [u for u in corpus if u.speaker_id in (third, fourth)]
    write_manifest(test, tmp_path / "test.jsonl")
    write_manifest(rest, tmp_path / "rest.jsonl")
    shared = from_manifest(tmp_path / "rest.jsonl")
    with pytest.raises(ManifestError, match=f"cohort: {third} is in the calibration set as well"):
        run(tmp_path / "test.jsonl", cohort=tuple(rest), as_norm=True, calibration_set=shared)
    renamed = tuple(Utterance(u.utterance_id, f"x{u.speaker_id}", u.path, 1.0) for u in rest)
    name = min(str(u.path.resolve()) for u in rest)
    with pytest.raises(ManifestError, match=f"cohort: {name} is in the calibration set as well"):
        run(tmp_path / "test.jsonl", cohort=renamed, as_norm=True, calibration_set=shared)


def test_an_enrollment_must_not_hold_its_own_test(corpus: list[Utterance], tmp_path: Path) -> None:
    first = [u for u in corpus if u.speaker_id == corpus[0].speaker_id]
    other = next(u for u in corpus if u.speaker_id != corpus[0].speaker_id)
    folder, map_ = corpus[0].path.parent, tmp_path / "map"
    a, b, c, d = (u.path.name for u in (*first[:3], other))
    trials = [Trial("model", b, True), Trial("model", c, True), Trial("model", d, False)]
    write_trials(trials, tmp_path / "t.txt", "kaldi")
    map_.write_text(f"model {a} {b}\n")
    with pytest.raises(
        ManifestError, match=rf"the enrollment model holds the test recording {b} itself \(1 such"
    ):
        from_list(tmp_path / "t.txt", folder, enroll_map=map_)
    # the same file by another name, which comes first
    trials = [Trial("model", b.replace("wav", "flac"), True), *trials]
    write_trials(trials, tmp_path / "t.txt", "kaldi")
    with pytest.raises(ManifestError, match=r"\(2 such trials\); a recording is never compared"):
        from_list(tmp_path / "t.txt", folder, enroll_map=map_)
    map_.write_text(f"model {a}\n")
    assert len(from_list(tmp_path / "t.txt", folder, enroll_map=map_).table) == 4
    write_manifest(corpus, tmp_path / "m.jsonl")
    ids = [u.utterance_id for u in first[:2]]
    map_.write_text(f"model {' '.join(ids)}\n")
    write_trials(
        [Trial("model", ids[1], True), Trial("model", other.utterance_id, False)],
        tmp_path / "t.txt",
        "kaldi",
    )
    with pytest.raises(ManifestError, match=f"holds the test recording {ids[1]} itself"):
        from_manifest(tmp_path / "m.jsonl", trials=tmp_path / "t.txt", enroll_map=map_)


def test_a_plain_list_names_its_speakers_or_says_that_it_cannot(
    corpus: list[Utterance], tmp_path: Path
) -> None:
    by_speaker = [[u for u in corpus if u.speaker_id == s] for s in {u.speaker_id for u in corpus}]
    test = [u for own in by_speaker for u in own[:2]]
    audio = tmp_path / "audio"
    for u in test:
        (audio / u.speaker_id).mkdir(parents=True, exist_ok=True)
        for copy in (audio / u.speaker_id / u.path.name, audio / u.path.name):
            copy.write_bytes(u.path.read_bytes())
    pairs = [(a, b) for i, a in enumerate(test) for b in test[i + 1 :]]
    for name, id_of in (
        ("folders.txt", lambda u: f"{u.speaker_id}/{u.path.name}"),
        ("flat.txt", lambda u: u.path.name),
    ):
        trials = [Trial(id_of(a), id_of(b), a.speaker_id == b.speaker_id) for a, b in pairs]
        write_trials(trials, tmp_path / name, "voxceleb")
    folders, flat = (from_list(tmp_path / name, audio) for name in ("folders.txt", "flat.txt"))
    # the same voices as other files: only the names can tell
    cohort = tuple(corpus)
    systems = [System("fake", Embedder(FakeEncoder()))]
    with pytest.raises(ManifestError, match="cohort: speaker .* is in the trials of folders.txt"):
        evaluate(systems, [folders], Settings(n_draws=2, cohort=cohort, as_norm=True, top_n=2))
    report = evaluate(systems, [flat], Settings(n_draws=2, cohort=cohort, as_norm=True, top_n=2))
    (sentence,) = report.systems[0].unchecked
    assert sentence.startswith("speakers unknown: overlap not checked for the trials (flat.txt)")
    write_report(report, tmp_path / "out", figures=False)
    assert "**Speakers unknown: overlap not checked" in (tmp_path / "out/report.md").read_text()
    assert json.loads((tmp_path / "out/metrics.json").read_text())["systems"][0]["unchecked"]
    assert evaluate(systems, [folders], Settings(n_draws=2)).systems[0].unchecked == ()


def test_as_norm_and_a_fitted_calibration_go_through(
    corpus: list[Utterance], tmp_path: Path
) -> None:
    speakers = sorted({u.speaker_id for u in corpus})
    test = [u for u in corpus if u.speaker_id in (speakers[1], speakers[2])]
    rest = [u for u in corpus if u.speaker_id in (speakers[0], speakers[3])]
    write_manifest(test, tmp_path / "test.jsonl")
    write_manifest(rest, tmp_path / "rest.jsonl")
    (normalised,) = run(
        tmp_path / "test.jsonl", cohort=tuple(rest), as_norm=True, subtract_mean=True, top_n=2
    ).systems
    assert "AS-norm, the 2 nearest of 2 cohort speakers" in normalised.back_end
    assert normalised.calibration == "" and normalised.thresholds == {}  # of the card: for cosines
    (calibrated,) = run(
        tmp_path / "test.jsonl", calibration_set=from_manifest(tmp_path / "rest.jsonl")
    ).systems
    assert calibrated.calibration.startswith("fitted on rest.jsonl: score")
    assert np.isfinite(calibrated.measured.metrics["cllr"].value)


def test_lists_by_folder_and_enrollments_of_several_recordings(
    corpus: list[Utterance], tmp_path: Path
) -> None:
    folder = corpus[0].path.parent
    by_speaker: dict[str, list[str]] = {}
    for u in corpus:
        by_speaker.setdefault(u.speaker_id, []).append(u.path.stem + ".flac")  # they are .wav
    enrolled = {f"model{i}": names for i, names in enumerate(by_speaker.values())}
    (tmp_path / "map").write_text(
        "".join(f"{m} {' '.join(names[:2])}\n" for m, names in enrolled.items())
    )
    trials = [
        Trial(model, name, name in own)
        for model, own in enrolled.items()
        for names in enrolled.values()
        for name in names[2:]
    ]
    write_trials(trials, tmp_path / "trials.txt", "kaldi")
    found = from_list(tmp_path / "trials.txt", folder, enroll_map=tmp_path / "map")
    report = evaluate([System("fake", Embedder(FakeEncoder()))], [found], Settings(n_draws=20))
    embedder = Embedder(FakeEncoder())
    scores = []
    for trial in trials:
        mean = sum(
            embedder.embed(folder / n.replace("flac", "wav"))
            for n in enrolled[trial.enrollment_id][:2]
        )
        test = embedder.embed(folder / trial.test_id.replace("flac", "wav"))
        scores.append(float(mean @ test / np.linalg.norm(mean)))
    assert report.systems[0].scores == pytest.approx(scores, abs=1e-6)
    assert set(report.systems[0].recall) == {"recall_at_1", "recall_at_5", "recall_at_10"}
    with pytest.raises(ManifestError, match="map: does not say what model0"):
        (tmp_path / "map").write_text("other a.wav\n")
        from_list(tmp_path / "trials.txt", folder, enroll_map=tmp_path / "map")
    with pytest.raises(ManifestError, match="no recording of any trial is there"):
        from_list(tmp_path / "trials.txt", tmp_path)


def test_val_meta_is_read_as_preprocessing_writes_it(
    corpus: list[Utterance], tmp_path: Path
) -> None:
    path = tmp_path / "val_meta.jsonl"
    lines = [
        {"speaker_id": u.speaker_id, "utterance_id": u.utterance_id, "feat": "x.pt"}
        | {"audio": str(u.path), "seconds": u.seconds}
        for u in corpus
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = from_val_meta(path, n_trials=20, seed=3)
    assert len(found.table) == 20 and found.table.n_target == 10
    assert "20 of" in found.notes[0] and "seed 3" in found.notes[0]
    again = from_val_meta(path, n_trials=20, seed=3)
    np.testing.assert_array_equal(found.table.enrollment, again.table.enrollment)
    path.write_text('{"utterance_id": "a"}\n')
    with pytest.raises(ManifestError, match=r"val_meta.jsonl:1: .*preprocess_cnceleb2_train.py"):
        from_val_meta(path)


def test_a_trial_that_the_manifest_does_not_know_or_contradicts_is_refused(
    manifest: Path, corpus: list[Utterance], tmp_path: Path
) -> None:
    a, b = corpus[0], corpus[-1]
    write_trials([Trial(a.utterance_id, "nobody", True)], tmp_path / "t.txt")
    with pytest.raises(ManifestError, match="the manifest does not know nobody"):
        from_manifest(manifest, trials=tmp_path / "t.txt")
    write_trials([Trial(a.utterance_id, b.utterance_id, True)], tmp_path / "t.txt")
    with pytest.raises(ManifestError, match="are a target trial, but the manifest's speakers"):
        from_manifest(manifest, trials=tmp_path / "t.txt")


def test_the_report_says_the_same_in_every_form(manifest: Path, tmp_path: Path) -> None:
    report = run(manifest, FakeEncoder(), FakeEncoder(name="again"))
    drawn, own = tmp_path / "tsne_3.png", tmp_path / "tsne_paper.png"
    for path in (drawn, own):
        path.touch()
    written = write_report(report, tmp_path, figures=False)
    assert own.exists() and drawn.exists()  # no report was here
    written = write_report(report, tmp_path, figures=False)
    assert own.exists() and not drawn.exists()
    assert [path.name for path in written] == [
        "report.html", "report.md", "metrics.txt", "metrics.json",
    ]  # fmt: skip
    values = json.loads((tmp_path / "metrics.json").read_text())
    assert values == json.loads(json.dumps(to_json(report)))
    found = values["systems"][0]["metrics"]["eer"]
    shown = f"{100 * found['value']:.2f} % ({100 * found['low']:.2f} to {100 * found['high']:.2f})"
    for name in ("report.html", "report.md", "metrics.txt"):
        text = (tmp_path / name).read_text(encoding="utf-8")
        assert shown in text and "访谈" in text and "no verdict" in text, name
        assert "not measurable" in text
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert not re.search(r'(src|href)="(?!data:)', page) and "url(" not in page
    assert values["comparisons"][0]["better"] is None
    first = (tmp_path / "report.html").read_bytes()
    write_report(run(manifest, FakeEncoder(), FakeEncoder(name="again")), tmp_path, figures=False)
    assert (tmp_path / "report.html").read_bytes() == first


def test_a_report_without_errors_warns_of_its_narrow_intervals(
    corpus: list[Utterance], tmp_path: Path
) -> None:
    """One recording twice under other names is a perfect target trial."""
    first, other = corpus[0], next(u for u in corpus if u.speaker_id != corpus[0].speaker_id)
    copy = tmp_path / "copy.wav"
    copy.write_bytes(first.path.read_bytes())
    again = Utterance("again", first.speaker_id, copy, first.seconds)
    write_manifest([first, again, other], tmp_path / "m.jsonl")
    report = run(tmp_path / "m.jsonl")
    assert report.systems[0].measured.metrics["eer"].value == 0
    write_report(report, tmp_path, figures=False)
    text = (tmp_path / "metrics.txt").read_text()
    assert "! fake: one threshold separates all trials" in text
    assert "Not measurable: fewer than 30 false matches" in text


def test_a_cache_makes_the_second_evaluation_free(manifest: Path, tmp_path: Path) -> None:
    encoder = FakeEncoder()
    for _ in range(2):
        with EmbeddingCache(tmp_path / "c.sqlite") as cache:
            systems = [System("fake", Embedder(encoder))]
            evaluate(systems, [from_manifest(manifest)], Settings(n_draws=2), cache=cache)
        n_calls = len(encoder.shapes)
    assert n_calls == len({u.path for u in from_manifest_paths(manifest)})


def from_manifest_paths(manifest: Path) -> list[Utterance]:
    from groove.manifest import read_manifest

    return read_manifest(manifest)


def scores_of(
    random: np.random.Generator, n_speakers: int, n_each: int, distance: float
) -> TrialScores:
    who = np.repeat(np.arange(n_speakers), n_each)
    a, b = np.triu_indices(len(who), 1)
    same = who[a] == who[b]
    return TrialScores(random.normal(0, 1, len(a)) + distance * same, same, who[a], who[b])


def test_a_cell_too_small_for_a_verdict_has_counts_and_no_rate(rng: np.random.Generator) -> None:
    trials = scores_of(rng, 12, 5, 2.0)
    index = (trials.test_speakers >= 10).astype(np.int64)
    everything = Conditions(("x",), np.zeros(len(index), dtype=np.int64))
    large, small = cells(trials, everything, Conditions(("many", "few"), index), n_draws=20)
    assert large.test == "many" and large.eer is not None and large.n_speakers == 10
    kept = trials.only(index == 0)
    assert large.eer.value == eer(*kept.split(kept.scores))
    assert small.eer is None and small.n_target == 20 and small.n_speakers == 2


def test_the_calibration_plot_says_what_was_found(rng: np.random.Generator) -> None:
    """True log-likelihood ratios of two normal distributions lie on the diagonal."""
    trials = scores_of(rng, 100, 6, 2.0)
    llrs = 2.0 * trials.scores - 2.0  # ln N(s; 2, 1) / N(s; 0, 1)
    true = TrialScores(trials.scores, trials.is_target, *trials_speakers(trials), llrs)
    found = measure(true, n_draws=2).reliability
    assert found is not None and len(found.claimed) >= 10 and found.n.sum() == len(llrs)
    np.testing.assert_allclose(found.found, found.claimed, atol=0.12)
    assert abs(float((found.found - found.claimed).mean())) < 0.02
    late = TrialScores(trials.scores, trials.is_target, *trials_speakers(trials), llrs - 2)
    found = measure(late, n_draws=2).reliability
    assert found is not None and (found.found - found.claimed).max() > 0.2


def trials_speakers(trials: TrialScores) -> tuple[np.ndarray, np.ndarray]:
    return trials.enrollment_speakers, trials.test_speakers


def test_symmetric_cells_count_a_pair_of_conditions_once(rng: np.random.Generator) -> None:
    trials = scores_of(rng, 6, 3, 1.0)
    names = ("x", "y")
    a = Conditions(names, trials.enrollment_speakers % 2)
    b = Conditions(names, trials.test_speakers % 2)
    found = {(c.enrollment, c.test): c for c in cells(trials, a, b, symmetric=True, n_draws=2)}
    assert set(found) == {("all", "x"), ("all", "y"), ("x", "x"), ("x", "y"), ("y", "y")}
    total = sum(c.n_target + c.n_nontarget for key, c in found.items() if key[0] != "all")
    assert total == len(trials.scores)


def test_compare_needs_the_same_draws(rng: np.random.Generator) -> None:
    a, b = scores_of(rng, 12, 6, 1.0), scores_of(rng, 12, 6, 3.0)
    worse, better = measure(a, n_draws=60), measure(b, n_draws=60)
    (c,) = [c for c in compare(worse, better) if c.metric == "eer"]
    assert c.better == "b" and c.interval.high < 0
    (c,) = [c for c in compare(better, worse) if c.metric == "eer"]
    assert c.better == "a"
    with pytest.raises(ScoringError, match="not drawn alike"):
        compare(worse, measure(b, n_draws=61))


@pytest.mark.parametrize(
    ("n_speakers", "n_each", "reason"),
    [
        (2, 16, "2 speakers with target trials; a verdict needs 10"),
        (12, 2, "12 target and 264 non-target trials; a verdict needs 100 of each"),
    ],
)
def test_nobody_is_better_on_too_few_speakers_or_trials(
    rng: np.random.Generator, n_speakers: int, n_each: int, reason: str
) -> None:
    """With two speakers every draw holds both once, so the interval is a point off 0."""
    a = scores_of(rng, n_speakers, n_each, 0.0)
    b = TrialScores(a.scores + 3.0 * a.is_target, a.is_target, *trials_speakers(a))
    found = compare(measure(a, n_draws=60), measure(b, n_draws=60))
    assert found[0].interval.high < 0  # what was called better
    assert {(c.better, c.reason) for c in found} == {("none", reason)}


def test_a_report_on_few_speakers_says_that_its_intervals_are_too_narrow(
    manifest: Path, tmp_path: Path
) -> None:
    report = run(manifest, FakeEncoder(), FakeEncoder(name="again"))
    write_report(report, tmp_path, figures=False)
    text = (tmp_path / "metrics.txt").read_text()
    assert "! fake: too few speakers for the intervals: 4 with target trials" in text
    assert "no verdict: 4 speakers with target trials; a verdict needs 10" in text
    values = json.loads((tmp_path / "metrics.json").read_text())
    assert values["comparisons"][0]["reason"].startswith("4 speakers with target trials")


def test_what_is_lost_of_cohort_and_calibration_set_is_said(
    corpus: list[Utterance], tmp_path: Path
) -> None:
    speakers = sorted({u.speaker_id for u in corpus})
    own = [[u for u in corpus if u.speaker_id == who] for who in speakers]
    silence = tmp_path / "silence.wav"
    silence.write_bytes(wav_bytes(np.zeros(32_000, np.float32)))
    cohort, calibration = own[2][:1], [*own[0], *own[3]]
    cohort += [Utterance(f"x{i}", "other", u.path, 1.0) for i, u in enumerate(own[2][1:])]
    gone = Utterance("gone", speakers[2], tmp_path / "gone.wav", 1.0)
    quiet = Utterance("quiet", speakers[2], silence, 2.0)
    lost = (
        Utterance("lost", speakers[0], tmp_path / "lost.wav", 1.0),
        Utterance("mute", speakers[0], silence.with_name("mute.wav"), 2.0),
    )
    lost[1].path.write_bytes(silence.read_bytes())
    other = tmp_path / "other.wav"
    other.write_bytes(own[1][1].path.read_bytes())
    stranger = Utterance("stranger", "stranger", other, 1.0)
    write_manifest([*own[1], stranger], tmp_path / "test.jsonl")
    write_manifest([*calibration, *lost], tmp_path / "rest.jsonl")
    given = {"cohort": (*cohort, gone, quiet), "as_norm": True, "top_n": 2}
    given["calibration_set"] = from_manifest(tmp_path / "rest.jsonl")
    report = run(tmp_path / "test.jsonl", **given)
    losses = report.systems[0].losses
    for what, missing, failed in (
        ("cohort", gone.path, silence),
        ("calibration set", lost[0].path, lost[1].path),
    ):
        assert losses[what].missing_files == (str(missing),)
        assert [path for path, _ in losses[what].failed] == [str(failed)]
    assert losses["cohort"].n_recordings == len(own[2]) + 1
    write_report(report, tmp_path / "out", figures=False)
    text = (tmp_path / "out" / "metrics.txt").read_text()
    for what in losses:
        assert f"! fake, {what}: 1 files are missing" in text
        assert f"! fake, {what}: failure to acquire 1 of" in text
    assert str(gone.path) in (tmp_path / "out" / "missing.txt").read_text()
    assert str(lost[1].path) in (tmp_path / "out" / "failed.jsonl").read_text()
    values = json.loads((tmp_path / "out" / "metrics.json").read_text())["systems"][0]
    assert values["losses"]["cohort"]["n_failed"] == 1
    with pytest.raises(ManifestError, match=r"rest.jsonl: 1 files are missing \(.*lost.wav"):
        run(tmp_path / "test.jsonl", strict=True, **given)
    with pytest.raises(ManifestError, match=r"cohort: 1 files are missing \(.*gone.wav"):
        run(tmp_path / "test.jsonl", strict=True, **given | {"calibration_set": None})


def test_val_meta_of_a_folder_that_was_not_prepared_to_the_end_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "val_meta.jsonl"
    path.write_text('{"speaker_id": "a", "utterance_id": "1", "feat": null, "audio": "1.wav"}\n')
    assert len(read_val_meta(path)) == 1  # from anywhere else it is a list like others
    (tmp_path / "probed.jsonl").write_text("")
    with pytest.raises(ManifestError, match="it was not prepared to the end; run groove prepare"):
        read_val_meta(path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    (tmp_path / "prepared.json").write_text(json.dumps({"sha256": {"val_meta.jsonl": digest}}))
    assert len(read_val_meta(path)) == 1
    with path.open("a") as file:
        file.write("\n")
    with pytest.raises(ManifestError, match=r"val_meta.jsonl: not the list that prepared.json"):
        read_val_meta(path)


def test_a_recording_beside_its_list_goes_before_one_of_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ "a.wav" lies in many folders; the list means its own."""
    here, there = tmp_path / "here", tmp_path / "there"
    for folder, voice in ((here, VOICE_B), (there, VOICE_A)):
        folder.mkdir()
        (folder / "a.wav").write_bytes(voice.read_bytes())
    (here / "only.wav").write_bytes(VOICE_B.read_bytes())
    monkeypatch.chdir(here)
    lines = [
        {"speaker_id": "s", "utterance_id": name, "audio": f"{name}.wav"} for name in ("a", "only")
    ]
    path = there / "val_meta.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    found = [utterance.path.resolve() for utterance in read_val_meta(path)]
    assert found == [(there / "a.wav").resolve(), (here / "only.wav").resolve()]
