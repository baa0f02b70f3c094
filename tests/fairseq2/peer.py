"""The other side, run by the Python of an environment that has fairseq2: its models, what they hold and say.

``peer.py make KIND FOLDER`` writes a random model of fairseq2's own classes (``model.pt``) and what it says of
fixed audio (``outputs.pt``). ``peer.py read KIND CHECKPOINT OUTPUTS`` fills such a model from a checkpoint,
every weight and no other, and writes what it says.
"""

from __future__ import annotations

import sys
from pathlib import Path

import soundfile  # noqa: F401  its wheel brings the libsndfile that fairseq2 looks for on the system
import torch
from fairseq2.models.transformer import TransformerNormOrder
from fairseq2.models.wav2vec2 import Wav2Vec2Config, Wav2Vec2EncoderConfig, create_wav2vec2_model
from fairseq2.models.wav2vec2.asr import Wav2Vec2AsrConfig, create_wav2vec2_asr_model
from fairseq2.nn import BatchLayout

SAMPLES = [16_000, 9_000]


def build(kind: str) -> torch.nn.Module:
    """``base`` as wav2vec 2.0 base, ``large`` as XLS-R and Omnilingual ASR, ``ctc`` as the latter's recognisers."""
    settings = Wav2Vec2EncoderConfig(
        model_dim=128, feature_dim=32, num_encoder_layers=3, num_encoder_attn_heads=2, ffn_inner_dim=96,
        pos_conv_kernel_size=16, num_pos_conv_groups=4, dropout_p=0.0, attn_dropout_p=0.0, layer_drop_p=0.0,
        feature_extractor_layer_descs=[(32, 10, 5)] + [(32, 3, 2)] * 4 + [(32, 2, 2)] * 2,
    )  # fmt: skip
    if kind != "base":  # as fairseq2's large_lv60k
        settings.layer_norm_features = False
        settings.feature_extractor_bias = True
        settings.feature_extractor_layer_norm_convs = True
        settings.norm_order = TransformerNormOrder.PRE
    torch.manual_seed(7)
    if kind == "ctc":
        return create_wav2vec2_asr_model(Wav2Vec2AsrConfig(encoder_config=settings, target_vocab_size=13))
    small = {"final_dim": 24, "quantized_dim": 16, "num_codebooks": 2, "num_codebook_entries": 8}
    return create_wav2vec2_model(Wav2Vec2Config(encoder_config=settings, **small))


@torch.inference_mode()
def outputs(kind: str, model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """What a model says of two utterances one after the other: ``hidden0`` (T, D) and so on, or ``logits0``."""
    model.eval()
    generator = torch.Generator().manual_seed(3)
    found: dict[str, torch.Tensor] = {}
    for number, samples in enumerate(SAMPLES):
        audio = 0.1 * torch.randn(samples, generator=generator)
        found[f"audio{number}"] = audio
        if kind != "base":  # fairseq2's recipes normalise the audio of these, with 1e-5 beside its variance
            audio = torch.nn.functional.layer_norm(audio, audio.shape, eps=1e-7)
        layout = BatchLayout((1, samples), seq_lens=[samples])
        if kind == "ctc":
            found[f"logits{number}"] = model(audio[None], layout)[0][0]
        else:
            seqs, layout, _ = model.encoder_frontend.extract_features(audio[None], layout)
            seqs, _ = model.encoder_frontend.process_features(seqs, layout, None)
            found[f"hidden{number}"] = model.encoder(seqs, layout)[0]
    return found


def main() -> None:
    verb, kind, *paths = sys.argv[1:]
    model = build(kind)
    if verb == "make":
        folder = Path(paths[0])
        torch.save({"model": model.state_dict(), "fs2": True}, folder / "model.pt")
        torch.save(outputs(kind, model), folder / "outputs.pt")
        return
    state = torch.load(paths[0], weights_only=True)["model"]
    missing, unexpected = model.load_state_dict(state, strict=False)
    # An encoder that is written alone brings nothing of the objective.
    missing = [name for name in missing if not name.startswith(("quantizer", "final_", "masker"))]
    if missing or unexpected:
        raise SystemExit(f"missing {missing}, unexpected {unexpected}")
    torch.save(outputs(kind, model), paths[1])


if __name__ == "__main__":
    main()
