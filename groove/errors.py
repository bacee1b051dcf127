"""Every error that Groove raises on purpose.

GrooveError
├── AudioError            a recording cannot be used
│   ├── UnreadableAudio   not audio, unknown format, damaged, cut short
│   ├── UnsupportedFormat readable only with an extra decoder that is not there
│   ├── EmptyAudio        no samples at all
│   ├── InvalidSamples    NaN or infinite samples, impossible sample rate or channel
│   └── NoSpeech          nobody talks in it, or not for long enough
├── ModelError            a model cannot be used
│   ├── UnknownModel      no such name or file
│   ├── CardError         no model card, unknown card version, or a damaged card
│   ├── ImportMismatch    a public checkpoint does not have the expected layers
│   └── PullError         a model could not be fetched, or its hash is wrong
├── ManifestError         a list of utterances or trials is malformed
├── CorpusError           a corpus does not lie on disk as it should, or cannot be prepared
├── ScoringError          numbers that a metric or a calibration is not defined for
├── SettingsError         an option has a value that cannot be honoured
├── TrainingError         a run cannot begin or go on; what was saved stays
├── StoreError            voiceprints cannot be kept or used as asked
│   ├── UnknownPerson     nobody of that name
│   ├── NobodyEnrolled    nobody at all
│   ├── OtherVoice        not the voice that is enrolled under the name
│   └── ModelMismatch     enrolled with another model
└── MissingExtra          an optional part of Groove is not installed

Each message is one line that says what, got, wanted, and the next step. Library code raises these;
only the doors (the command line, the service) turn them into exit codes.
"""

from __future__ import annotations


class GrooveError(Exception):
    """Base of every deliberate error; catch this to catch them all."""


class AudioError(GrooveError):
    """A recording cannot be used."""


class UnreadableAudio(AudioError):
    """The bytes are not audio, or are damaged or cut short."""


class UnsupportedFormat(AudioError):
    """The format needs a decoder that is not installed."""


class EmptyAudio(AudioError):
    """The recording holds no samples."""


class InvalidSamples(AudioError):
    """The samples are not finite, or rate, shape or channel are impossible."""


class NoSpeech(AudioError):
    """The recording holds no speech, or too little for an embedding."""


class ModelError(GrooveError):
    """A model cannot be used."""


class UnknownModel(ModelError):
    """No model of that name, and no such file."""


class CardError(ModelError):
    """The model file has no card, or one that this version cannot read."""


class ImportMismatch(ModelError):
    """A public checkpoint does not hold the layers that its kind should have."""


class PullError(ModelError):
    """A model could not be fetched, converted or verified."""


class ManifestError(GrooveError):
    """A list of utterances or trials is malformed."""


class CorpusError(GrooveError):
    """A corpus does not lie on disk as it should, or cannot be prepared."""


class ScoringError(GrooveError):
    """Scores or labels that a metric or a calibration is not defined for."""


class SettingsError(GrooveError):
    """An option has a value that cannot be honoured."""


class TrainingError(GrooveError):
    """A training run cannot go on; the message says what was saved and how to go on."""


class StoreError(GrooveError):
    """A voiceprint store cannot be used, or refuses what was asked of it."""


class UnknownPerson(StoreError):
    """Nobody of that name is enrolled."""


class NobodyEnrolled(StoreError):
    """There is no voiceprint to compare with."""


class OtherVoice(StoreError):
    """A recording does not sound like the person it was given for."""


class ModelMismatch(StoreError):
    """Voiceprints of another model, which cannot be compared with this one's."""


class MissingExtra(GrooveError):
    """An optional part of Groove is not installed."""

    def __init__(self, what: str, extra: str, reason: str = "") -> None:
        """Say what needs the extra and the command that installs it."""
        why = f" ({reason})" if reason else ""
        super().__init__(
            f"{what} needs the '{extra}' extra{why}: run  pip install 'groove-sv[{extra}]'"
        )
        self.extra = extra
