"""Opening an ONNX graph, always with the same options. The only door to onnxruntime.

The options are pinned because they change bits or habits: the CPU provider, one operator at a time,
deterministic kernels, and no memory plan per input shape (utterances differ in length, and plans
for every length seen would pile up). onnxruntime's own log lines are silenced; what goes wrong
comes back as an exception.
"""

from __future__ import annotations

import json
import mmap
import os
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from groove.errors import ModelError, SettingsError

MOST_THREADS = 64  # on a smaller machine
_FATAL = 4  # onnxruntime's severities: verbose, info, warning, error, fatal


def open_session(
    source: str | os.PathLike[str] | bytes, *, threads: int | None = None
) -> onnxruntime.InferenceSession:
    """An ONNX graph, ready to run; calls may come from several Python threads at once.

    Args:
        source: a path, or the bytes of a file.
        threads: threads of one call; None lets onnxruntime take the machine's cores. The same
            number gives the same bits.

    Raises:
        ModelError: no such file, or not an ONNX graph that onnxruntime can run.
        SettingsError: ``threads`` below 1.
    """
    return _open(source, _options(threads))


def profile_nodes(
    source: str | os.PathLike[str],
    feeds: dict[str, NDArray[Any]],
    *,
    threads: int | None = None,
    repeat: int = 3,
) -> dict[str, float]:
    """Seconds that one run spends in each node, from onnxruntime's own profile.

    Args:
        source: a model file.
        feeds: its inputs by name.
        threads: as in `open_session`.
        repeat: runs that are averaged, after one that is not counted.

    Returns:
        Node name -> seconds. A node that onnxruntime fused carries a name of its own.

    Raises:
        ModelError: as in `open_session`.
    """
    with tempfile.TemporaryDirectory() as folder:
        options = _options(threads)
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder) / "profile")
        session = _open(source, options)
        for _ in range(1 + repeat):
            session.run(None, feeds)
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    durations_us: dict[str, list[float]] = defaultdict(list)
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            durations_us[event["name"].removesuffix("_kernel_time")].append(event["dur"])
    return {name: float(np.mean(d[1:])) / 1e6 for name, d in durations_us.items() if d[1:]}


def _options(threads: int | None) -> onnxruntime.SessionOptions:
    if threads is not None and threads < 1:
        raise SettingsError(f"threads is {threads}; wanted 1 or more")
    most = max(MOST_THREADS, os.cpu_count() or 1)
    if threads is not None and threads > most:
        raise SettingsError(f"threads is {threads}; wanted at most {most}: they would only wait")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or 0  # 0: as many as there are cores
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.use_deterministic_compute = True
    options.enable_mem_pattern = False
    options.log_severity_level = _FATAL
    return options


def _has_data_beside(path: str | os.PathLike[str]) -> bool:
    """Whether an ONNX file names a file for a tensor's data (`external_data`, key `location`)."""
    with open(path, "rb") as file:
        try:
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                return content.find(b"\x0a\x08location\x12") >= 0
        except ValueError:  # an empty file
            return False


def _open(
    source: str | os.PathLike[str] | bytes, options: onnxruntime.SessionOptions
) -> onnxruntime.InferenceSession:
    name = f"<{len(source)} bytes>" if isinstance(source, bytes) else os.fspath(source)
    if not isinstance(source, bytes) and not os.path.isfile(source):
        raise ModelError(f"{name}: no such model file")
    if not isinstance(source, bytes) and _has_data_beside(source):
        raise ModelError(
            f"{name}: keeps weights in another file, which its hash would not cover; export it "
            "into one file (onnx.save without save_as_external_data)"
        )
    onnxruntime.set_default_logger_severity(_FATAL)
    try:
        return onnxruntime.InferenceSession(
            source if isinstance(source, bytes) else name,
            options,
            providers=["CPUExecutionProvider"],
        )
    except Exception as error:  # onnxruntime's errors share no base class
        said = " ".join(str(error).split())[:300]
        raise ModelError(
            f"{name}: not an ONNX graph that onnxruntime {onnxruntime.__version__} can run "
            f"({said}); fetch or export the file again"
        ) from error
