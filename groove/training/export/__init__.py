"""A network -> files that run elsewhere and give the same numbers.

    module, card --trace--> model.onnx --+--> model.fp16.onnx        weights stored in half
                                         +--> model.int8.onnx        calibrated on speech
                                         +--> model.mnn (+ .json)    phones
                                         +--> model.plan / trtexec   NVIDIA GPUs

Every file is written aside, compared with PyTorch (`groove.parity`), and only then renamed into
place. `export_all` runs the targets that were asked for; where one does not agree it renames an
earlier run's file to ``NAME.old``, so what a finished run leaves under a name that was asked for
agrees. `export_onnx` is the one that importers need.
"""

from groove.training.export.onnx_file import export_onnx
from groove.training.export.outcome import Exported
from groove.training.export.targets import Request, export_all

__all__ = ["Exported", "Request", "export_all", "export_onnx"]
