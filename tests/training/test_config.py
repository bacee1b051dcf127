"""Settings: unknown keys get the nearest name, types and ranges are checked, YAML is the tree."""

from __future__ import annotations

import itertools
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

from groove.errors import SettingsError
from groove.training.composing import compose
from groove.training.config import TrainConfig
from groove.training.typed import from_mapping, keys, plain
from tests.conftest import ROOT

pytestmark = pytest.mark.torch


def test_the_recommended_values_of_the_seed_are_the_defaults() -> None:
    run = TrainConfig().train
    found = (run.emb_dim, run.channels, run.lr, run.epochs, run.crop_frames, run.crop_frames_val)
    assert found == (256, 512, 1e-3, 80, 200, 400)
    assert (run.num_crops, run.p, run.k) == (6, 32, 4)


def test_what_was_written_can_be_read() -> None:
    config = TrainConfig()
    assert from_mapping(TrainConfig, plain(config)) == config
    assert from_mapping(TrainConfig, {}) == config


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"train": {"epoch": 3}}, "train.epoch: no such setting; did you mean train.epochs?"),
        ({"lr": 0.1}, "lr: no such setting; did you mean train.lr?"),
        ({"trian": {"lr": 1}}, "trian: no such setting"),
        ({"head": {"margin": 0.2}}, "did you mean head.margin_rad?"),
        ({"train": {"embdim": 192}}, "did you mean train.emb_dim?"),
        ({"zzz": 1}, "see configs/train.yaml"),
        ({"train": {"epochs": "many"}}, "train.epochs: got 'many'; wanted a whole number"),
        ({"train": {"epochs": 2.5}}, "train.epochs: got 2.5; wanted a whole number"),
        ({"train": {"epochs": True}}, "train.epochs: got True; wanted a whole number"),
        ({"train": {"epochs": 0}}, "train.epochs: got 0; wanted 1 to"),
        ({"train": 3}, "train: got 3; wanted settings below train"),
        ({"train": {"compile": 1}}, "train.compile: got 1; wanted true or false"),
        ({"train": {"lr": "high"}}, "train.lr: got 'high'; wanted a number"),
        ({"train": {"lr": float("nan")}}, "train.lr: got nan"),
        ({"train": {"precision": "fp8"}}, "wanted one of auto, fp32, bf16, fp16"),
        ({"data": {"speeds": 1.0}}, "data.speeds: got 1.0; wanted a list"),
        ({"data": {"speeds": [0.9, 1.0]}}, "wanted 1.0 first"),
        ({"data": {"speeds": [1.0, 3.0]}}, "wanted 0.5 to 2"),
        ({"schedule": {"margin_start": 0.5, "margin_full": 0.1}}, "wanted at least"),
        ({"schedule": {"final_lr": 0.5}}, "above train.lr"),
        ({"schedule": {"final_lr": 0}}, "never gets there"),
        ({"train": {"channels": 100}}, "wanted a multiple of 8"),
        ({"data": {"unlabelled": "u.jsonl"}}, "needs a teacher"),
        ({"distill": {"teacher": "x", "cosine": 0, "similarity": 0}}, "all weigh 0"),
        ({"distill": {"teacher": "x", "neighbours": 1}}, "distill.target=utterance"),
    ],
)
def test_what_cannot_be_meant_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message.replace("?", r"\?")):
        from_mapping(TrainConfig, values)


def test_stored_features_name_all_that_must_be_set_for_them_at_once() -> None:
    given = [
        *("data.source=fbank", "augment.noise_folders=[n]", "augment.noise_probability=0.4"),
        *("augment.gain_probability=0.1", "data.unlabelled=u.jsonl", "data.sampler=shuffled"),
        *("distill.teacher=x", "model.min_rms=0.1"),
    ]
    with pytest.raises(SettingsError, match="data.source=fbank: stored features are") as refused:
        compose("train", given)
    wanted = str(refused.value).split("add ")[1].split(", or set data.source=files")[0].split(" ")
    assert wanted == [
        *("data.speeds=[1.0]", "augment.noise_probability=0", "augment.reverb_probability=0"),
        *("augment.gain_probability=0", "augment.noise_folders=[]", "data.unlabelled="),
        *("distill.target=utterance", "model.min_rms=0"),
    ]
    config = compose("train", [*given, *wanted])
    assert config.augment.is_off and config.data.unlabelled == ""
    with pytest.raises(SettingsError, match=r"add data.speeds=\[1.0\] \S+reverb_probability=0, or"):
        compose("train", ["data.source=fbank"])


def test_a_whole_number_does_for_a_rate_and_lists_become_tuples() -> None:
    config = from_mapping(TrainConfig, {"train": {"lr": 1}, "data": {"speeds": [1, 0.9]}})
    assert config.train.lr == 1.0 and isinstance(config.train.lr, float)
    assert config.data.speeds == (1.0, 0.9)


def test_no_everyday_name_stands_twice() -> None:
    leaves = [name.rpartition(".")[2] for name in keys(TrainConfig) if name.startswith("train.")]
    others = {n.rpartition(".")[2] for n in keys(TrainConfig) if not n.startswith("train.")}
    assert len(leaves) > 20 and not {"lr", "epochs", "emb_dim", "channels"} & others


def test_the_yaml_lists_every_setting_with_the_schemas_default() -> None:
    yaml = pytest.importorskip("yaml")  # comes with hydra-core
    text = (ROOT / "configs" / "train.yaml").read_text("utf-8")
    assert sorted(paths_of(yaml.safe_load(text))) == sorted(keys(TrainConfig))
    assert compose("train") == TrainConfig()


def paths_of(values: dict[str, Any], prefix: str = "") -> Iterator[str]:
    """Every leaf of parsed YAML, dotted."""
    for key, value in values.items():
        if isinstance(value, dict):
            yield from paths_of(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


def test_the_seeds_command_line_works_word_for_word() -> None:
    run = compose("train", ["train.epochs=100", "train.lr=5e-4", "train.emb_dim=256"]).train
    assert (run.epochs, run.lr, run.emb_dim) == (100, 5e-4, 256)


def test_finetune_and_distill_say_what_they_promise() -> None:
    tuned, distilled = compose("finetune"), compose("distill")
    assert tuned.head.margin_rad == tuned.schedule.margin_initial_rad == 0.5
    assert tuned.data.speeds == (1.0,) and tuned.train.crop_frames == 600
    assert tuned.train.init and distilled.distill.teacher == "campplus-zh-en"


def training_commands(text: str) -> list[tuple[str, list[str]]]:
    """Configuration and overrides of every command that starts a training in a text."""
    found = []
    for line in text.replace("\\\n", " ").splitlines():
        starts = line.split()[:1] in (["python"], ["torchrun"])
        words = shlex.split(line, comments=True) if starts else []
        script = next((word for word in words if word in ("train.py", "finetune.py")), None)
        if script is None:
            continue
        rest, name = words[words.index(script) + 1 :], Path(script).stem
        if rest[:1] == ["--config-name"]:
            name, rest = rest[1], rest[2:]
        found.append((name, rest))
    return found


def test_every_command_on_top_of_the_configurations_can_be_composed() -> None:
    found = []
    for path in sorted((ROOT / "configs").glob("*.yaml")):
        lines = path.read_text("utf-8").splitlines()
        comments = itertools.takewhile(lambda line: line.startswith("#"), lines)
        found += training_commands("\n".join(line.removeprefix("#") for line in comments))
    assert {name for name, _ in found} == {
        "train",
        "finetune",
        "distill",
        "builtin",
        "builtin-more",
    }
    assert len(found) >= 9
    assert any("data.unlabelled=voices.jsonl" in overrides for _, overrides in found)
    for name, overrides in found:
        compose(name, overrides)


def test_the_recipe_has_commands_for_each_step_and_they_can_be_composed() -> None:
    text = (ROOT / "docs" / "recipes" / "cnceleb.md").read_text("utf-8")
    train, evaluate = text.split("\n## 3. ")[1].split("\n## 4. ")
    found = training_commands(train)
    assert {name for name, _ in found} == {"train", "finetune"}
    configs = [compose(name, overrides) for name, overrides in found]
    assert any(x.augment.noise_folders and x.augment.rir_folders for x in configs)
    assert "\ngroove evaluate --model outputs_finetune/best.pt --cnceleb " in evaluate


def test_the_manual_says_which_augmentation_is_on_by_default() -> None:
    config = TrainConfig()
    assert config.augment.reverb_probability == 0.3 and config.data.speeds == (1.0, 0.9, 1.1)
    assert config.augment.noise_probability == config.augment.codec_probability == 0
    for name, words in (
        ("README.md", ("three crops in ten", "speeds 0.9 and 1.1", "Noise and codecs are off")),
        ("README_ch.md", ("十分之三的片段", "0.9 与 1.1 倍速", "噪声与编解码默认关闭")),
    ):
        text = (ROOT / name).read_text("utf-8")
        assert all(word in text for word in words), name


def test_overrides_reach_lists_and_keys_that_the_file_does_not_mention(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("train:\n  epochs: 3\n", encoding="utf-8")
    out = f"train.out_dir={tmp_path}"  # where no run is to go on with
    config = compose("mine", ["data.speeds=[1.0,0.8]", "resume=true", out], folder=tmp_path)
    assert config.train.epochs == 3 and config.data.speeds == (1.0, 0.8) and config.resume
    assert config.train.p == TrainConfig().train.p


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["train.epoch=3"], r"train.epoch: no such setting; did you mean train.epochs\?"),
        (["epochs=3"], r"did you mean train.epochs\?"),
        (["train.epochs"], "wanted key=value"),
        (["--epochs=3"], "wanted key=value"),
        (["data.speeds=[1.0"], "configuration train"),
        (["train.lr=fast"], "train.lr: got 'fast'; wanted a number"),
    ],
)
def test_a_wrong_override_is_one_clear_line(overrides: list[str], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        compose("train", overrides)


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("实验1", "实验1"),
        ("语料 一/Zoë", "语料 一/Zoë"),
        ("run(1)", "run(1)"),
        ("exp#2", "exp#2"),
        ("1e5", "1e5"),
        ("it's", "it's"),
        ("a=b,c", "a=b,c"),
        ("C:\\runs\\", "C:\\runs\\"),
        ("'in quotes'", "in quotes"),
        ('"实验"', "实验"),
        ("~/runs", str(Path("~/runs").expanduser())),
        ("runs/${train.lr}", "runs/0.5"),
        ("${train.init}实验", "实验"),
        ("a\\'b", "a\\'b"),
        ("ends\\\\", "ends\\\\"),
    ],
)
def test_text_needs_no_quotes(typed: str, meant: str) -> None:
    given = [f"train.out_dir={typed}", "train.lr=0.5"]
    assert compose("train", given).train.out_dir == meant
    assert compose("train", [f"++{text}" for text in given]).train.out_dir == meant


def test_null_is_no_text() -> None:
    with pytest.raises(SettingsError, match="train.init: got None; wanted text"):
        compose("train", ["train.init=null"])


def test_lists_of_text_need_no_quotes() -> None:
    heard = "augment.noise_probability=0.4"
    for typed in ("[噪声, a (1)]", "['噪声','a (1)']", "['噪声',a (1)]"):
        config = compose("train", [f"augment.noise_folders={typed}", heard])
        assert config.augment.noise_folders == ("噪声", "a (1)")
    assert compose("train", ["augment.noise_folders=[]"]).augment.noise_folders == ()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("augment.noise_folders=[musan]", "augment.noise_probability is 0, so they would never"),
        ("data.batch_size=64", "a batch of data.sampler=pk is train.p x train.k = 32 x 4"),
        ("distill.aam=0", "without a teacher it does nothing"),
        ("augment.noise_pack=musan.i16", "given without augment.noise_folders"),
    ],
)
def test_what_would_be_ignored_is_refused(given: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        compose("train", [given])
    rooms = ["augment.rir_folders=[rooms]", "augment.reverb_probability=0"]
    with pytest.raises(SettingsError, match="augment.rir_folders: given, but augment.reverb"):
        compose("train", rooms)


def test_a_configuration_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="nope.yaml: not in .*--config-dir"):
        compose("nope")
    with pytest.raises(SettingsError, match="train.yaml: not in"):
        compose("train", folder=tmp_path)
