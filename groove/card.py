"""The model card: everything that one needs to use a model file, inside the file.

A model file is an ONNX file with dynamic batch and time. Its metadata holds one entry,
``groove.card``, a JSON object of `ModelCard`'s fields with ``card_version`` first. A file without
the entry, or with a version that this program does not know, is refused: a guess at the front end
gives wrong scores that nobody notices. The format is specified in docs/model-file.md.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from groove.errors import CardError, SettingsError
from groove.fbank import FbankConfig
from groove.scoring import Calibration, ThresholdRow

CARD_VERSION = 2  # 1 where nothing was measured on telephone sound: older programs read that
METADATA_KEY = "groove.card"
INPUTS = ("waveform", "fbank")


@dataclass(frozen=True)
class ThresholdTable:
    """Thresholds measured on trials whose shorter side holds about ``speech_s`` of speech."""

    speech_s: float
    measured_on: str
    rows: tuple[ThresholdRow, ...]

    def row_for(self, fmr: float) -> ThresholdRow:
        """The measured row with the largest false-match rate that does not exceed ``fmr``.

        Raises:
            SettingsError: ``fmr`` is not in (0, 1), or is below the smallest measured row.
        """
        measured = sorted((r for r in self.rows if r.threshold is not None), key=lambda r: r.fmr)
        if not 0 < fmr < 1:
            raise SettingsError(f"false-match rate {fmr:g}; wanted a number between 0 and 1")
        if not measured or fmr < measured[0].fmr:
            least = f"{measured[0].fmr:g}" if measured else "none"
            raise SettingsError(
                f"no threshold was measured for a false-match rate of {fmr:g} "
                f"(smallest measured: {least}); ask for a larger --fmr or give --threshold"
            )
        return [row for row in measured if row.fmr <= fmr][-1]


@dataclass(frozen=True)
class NarrowBand:
    """What was measured on trials of telephone sound on both sides (see `groove.speech`).

    Strangers on the telephone are more alike than in a wide band, so the thresholds of the one do
    not keep their promise on the other.
    """

    thresholds: tuple[ThresholdTable, ...]
    calibration: Calibration


@dataclass(frozen=True)
class ModelCard:
    """What a model is, how it must be fed, and how good its scores were measured to be."""

    name: str
    version: str
    architecture: str
    embedding_size: int
    input: str  # "waveform" [B, S] in [-1, 1], or "fbank" [B, T, M] made by `fbank.log_mel`
    fbank: FbankConfig
    licence: str = "unknown"
    source: str = ""
    parent: str = ""  # the checkpoint or teacher that this model came from
    training_data: str = "unknown"
    window_s: float = 60.0  # ceiling of one pass; longer recordings are cut into such windows
    num_crops: int = 0  # 0: the whole utterance (or window) in one pass
    crop_s: float = 0.0
    min_speech_s: float = 0.5  # less speech than this gives no embedding
    short_speech_s: float = 2.0  # less than this gives a warning
    calibration: Calibration | None = None
    thresholds: tuple[ThresholdTable, ...] = ()
    narrow_band: NarrowBand | None = None
    front_end_hash: str = ""  # written by to_json, checked by from_json

    def __post_init__(self) -> None:
        """Refuse a card that contradicts itself."""
        self._check_types()
        if self.input not in INPUTS:
            raise CardError(f"card: input {self.input!r}; wanted one of {INPUTS}")
        if self.embedding_size < 1 or self.window_s <= 0 or self.num_crops < 0 or self.crop_s < 0:
            raise CardError("card: embedding_size, window_s, num_crops or crop_s out of range")
        if (self.num_crops == 0) != (self.crop_s == 0):
            raise CardError("card: num_crops and crop_s go together; both zero for a whole pass")
        if self.narrow_band and not (self.narrow_band.thresholds and self.calibration):
            raise CardError("card: narrow_band wants thresholds, and a calibration beside its own")
        if self.front_end_hash not in ("", self.fbank.hash):
            raise CardError(
                f"card: front-end hash {self.front_end_hash} but its settings give "
                f"{self.fbank.hash}; the file was edited by hand, export it again"
            )

    def _check_types(self) -> None:
        """A card comes from a file: text must be text, numbers must be finite numbers."""
        for field in fields(self):
            value, kind = getattr(self, field.name), str(field.type)
            if kind == "str" and not isinstance(value, str):
                raise CardError(f"card: {field.name} is {value!r}; wanted text")
            if kind in ("int", "float") and not _is_number(value, whole=kind == "int"):
                raise CardError(f"card: {field.name} is {value!r}; wanted a finite number")

    @property
    def every_table(self) -> tuple[ThresholdTable, ...]:
        """Those of the wide band, then those of telephone sound."""
        return self.thresholds + (self.narrow_band.thresholds if self.narrow_band else ())

    def calibration_for(self, *, narrow_band: bool) -> Calibration | None:
        """The calibration for a trial, of telephone sound on both sides or not."""
        if narrow_band and self.narrow_band is not None:
            return self.narrow_band.calibration
        return self.calibration

    def table_for(self, speech_s: float, *, narrow_band: bool = False) -> ThresholdTable | None:
        """The table for a trial whose shorter side holds ``speech_s`` seconds of speech.

        With ``narrow_band``, telephone sound on both sides, it is one of those that were measured
        on such trials, if the card has any.

        It is the first that was measured with at least so much speech: the score of two strangers
        grows with the amount of speech, so that table's thresholds keep their promise. Beyond the
        longest it is the longest. None if the card has no table.
        """
        own = self.narrow_band.thresholds if narrow_band and self.narrow_band else self.thresholds
        tables = sorted(own, key=lambda table: table.speech_s)
        longer = [table for table in tables if table.speech_s >= speech_s]
        return longer[0] if longer else tables[-1] if tables else None

    def with_fields(self, fields_: Mapping[str, Any]) -> ModelCard:
        """A copy with other values, given as plain ones: tables and calibration as dicts.

        Raises:
            CardError: a field that a card does not have, or a value that it cannot hold.
        """
        values = {"narrow_band": None, **json.loads(self.to_json()), **fields_}
        del values["card_version"], values["front_end_hash"]
        return self._from_values({**values, "front_end_hash": ""})

    def to_json(self) -> str:
        """One JSON object, keys in field order, ``card_version`` first."""
        values = {"card_version": CARD_VERSION, **asdict(self), "front_end_hash": self.fbank.hash}
        if self.narrow_band is None:
            del values["narrow_band"]
            values["card_version"] = 1
        return json.dumps(values, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> ModelCard:
        """Read what `to_json` wrote.

        Raises:
            CardError: not JSON, unknown version, unknown or missing fields.
        """
        try:
            values = json.loads(text)
            version = values.pop("card_version")
        except (ValueError, AttributeError, KeyError, TypeError) as error:
            raise CardError(
                f"the model card is damaged ({error!r}); export or import the model again"
            ) from None
        if type(version) is not int or not 1 <= version <= CARD_VERSION:
            raise CardError(
                f"the model card has version {version!r}, this Groove reads 1 to {CARD_VERSION}; "
                "update Groove, or export the model again"
            )
        if version == 1 and "narrow_band" not in values:
            values["narrow_band"] = None
        elif version == 1:
            raise CardError("the model card has version 1 and narrow_band, which came with 2")
        return cls._from_values(values)

    @classmethod
    def _from_values(cls, values: dict[str, Any]) -> ModelCard:
        known = {field.name for field in fields(cls)}
        if set(values) != known:
            raise CardError(
                f"the model card has unknown fields {sorted(set(values) - known)} and lacks "
                f"{sorted(known - set(values))}; export or import the model again"
            )
        try:
            calibration = values["calibration"]
            return cls(
                **{
                    **values,
                    "fbank": FbankConfig.from_dict(values["fbank"]),
                    "calibration": calibration and Calibration.from_dict(calibration),
                    "thresholds": _tables(values["thresholds"], "thresholds"),
                    "narrow_band": _narrow_band(values["narrow_band"]),
                }
            )
        except (TypeError, KeyError, ValueError) as error:
            raise CardError(
                f"the model card is damaged ({error}); export the model again"
            ) from None


def _is_number(value: Any, *, whole: bool) -> bool:
    if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)):
        return False
    return math.isfinite(value)


def _narrow_band(values: dict[str, Any] | None) -> NarrowBand | None:
    if values is None:
        return None
    if set(values) != {"thresholds", "calibration"}:
        raise CardError(
            f"card: narrow_band has fields {sorted(values)}; wanted thresholds and calibration"
        )
    return NarrowBand(
        _tables(values["thresholds"], "narrow_band.thresholds"),
        Calibration.from_dict(values["calibration"]),
    )


def _tables(values: list[dict[str, Any]], key: str) -> tuple[ThresholdTable, ...]:
    return tuple(_table(table, f"{key}[{i}]") for i, table in enumerate(values))


def _table(values: dict[str, Any], key: str) -> ThresholdTable:
    known = {field.name for field in fields(ThresholdTable)}
    if set(values) != known:
        raise CardError(f"card: {key} has fields {sorted(values)}; wanted {sorted(known)}")
    speech_s, measured_on = values["speech_s"], values["measured_on"]
    if not _is_number(speech_s, whole=False) or speech_s < 0:
        raise CardError(f"card: {key}.speech_s is {speech_s!r}; wanted seconds, at least 0")
    if not isinstance(measured_on, str):
        raise CardError(f"card: {key}.measured_on is {measured_on!r}; wanted text")
    rows = []
    for i, row in enumerate(values["rows"]):
        try:
            rows.append(ThresholdRow.from_dict(row))
        except CardError as error:
            raise CardError(f"card: {key}.rows[{i}]: {error}") from None
    return ThresholdTable(float(speech_s), measured_on, tuple(rows))
