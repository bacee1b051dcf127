"""Give a features-in model file the metadata that sherpa-onnx wants, for benchmarks/peers.py.

groove import campplus_cn_en_common.pt --kind 3dspeaker-campplus --features-in --out fbank.onnx
python benchmarks/make_sherpa_model.py fbank.onnx sherpa.onnx

Only speed is compared: sherpa-onnx's own front end differs from the one the network was trained on.
"""

import sys

import onnx

METADATA = {
    "framework": "3d-speaker",
    "language": "Chinese-English",
    "url": "https://www.modelscope.cn/models/iic/speech_campplus_sv_zh_en_16k-common_advanced",
    "comment": "for a speed comparison",
    "sample_rate": "16000",
    "output_dim": "192",
    "normalize_samples": "1",
    "feature_normalize_type": "global-mean",
}

if __name__ == "__main__":
    source, target = sys.argv[1:]
    model = onnx.load(source)
    for key, value in METADATA.items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, value
    onnx.save(model, target)
