"""Do two recordings hold the same voice? The same work as `groove compare`.

python compare_two_wavs.py --wav1 test1.wav --wav2 test2.wav --ckpt outputs/export/model.onnx
"""

import argparse
import sys

from groove.cli import main


def arguments() -> list[str]:
    """The seed's flags, as arguments of `groove compare`."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--wav1", required=True, help="a recording")
    parser.add_argument("--wav2", required=True, help="the other one")
    parser.add_argument("--ckpt", help="a model file, or a name from `groove models list`")
    parser.add_argument("--threshold", help="accept from this cosine on")
    parser.add_argument("--fmr", help="false-match rate to promise (default 0.01)")
    parser.add_argument("--num_crops", help="average so many crops")
    parser.add_argument("--crop_sec", help="seconds of a crop")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    given = vars(parser.parse_args())
    flags = {"ckpt": "--model", "threshold": "--threshold", "fmr": "--fmr"}
    flags |= {"num_crops": "--num_crops", "crop_sec": "--crop_sec"}
    named = [(flag, given[key]) for key, flag in flags.items() if given[key] is not None]
    options = [part for pair in named for part in pair]
    options += ["--json"] if given["json"] else []
    return ["compare", *options, "--", given["wav1"], given["wav2"]]


if __name__ == "__main__":
    sys.argv[1:] = arguments()
    main()
