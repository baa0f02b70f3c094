"""Whether a training that is killed reaches the bits of one that is not: every recipe, objective and sampler.

`python -m bench.resume [--quick] [--kills N] [--only NAME ...]`
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

if not __package__:  # run as `python bench/resume.py`
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import yaml

from asr.checkpoint import SUMS, whole_checkpoints
from asr.manifest import read_manifest, write_manifest
from bench import common

ROOT = Path(__file__).resolve().parents[1]
MINI = ROOT / "egs" / "mini"
PROTOCOL = """Every training is a process of its own on egs/mini's synthetic speech: 48 utterances in three languages,
12 updates, a checkpoint and an evaluation on dev after every third. Once it runs undisturbed. Once it is killed with
SIGKILL, by turns while it writes a checkpoint and some moments after one was written (seeded), and each time begun
again with the same command; at last it ends by itself. Then the last checkpoints must be the same files (weights,
averaged weights, state of the optimiser, by their SHA-256), and equal what sampler and task keep, and every score on
dev."""
UPDATES = 12
CONFORMER: dict[str, Any] = {
    "kind": "conformer", "width": 32, "num_layers": 3, "num_heads": 2, "stem_channels": 8, "kernel": 7, "dropout": 0.1,
}  # fmt: skip
WAV2VEC2: dict[str, Any] = {
    "kind": "wav2vec2",
    "config": {
        "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48,
        "conv_dim": [16] * 7, "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 2,
        "do_stable_layer_norm": True, "feat_extract_norm": "layer",
    },
}  # fmt: skip
OBJECTIVE: dict[str, Any] = {
    "num_codes": 16, "code_width": 16, "project_width": 16, "num_negatives": 8, "mask_span_s": 0.12,
}  # fmt: skip
SAMPLERS: dict[str, dict[str, Any]] = {
    "temperature": {"levels": ["language"], "temperature": [0.3]},
    "temperature, two levels": {"levels": ["language", "speaker"], "temperature": [0.5, 0.0]},
    "Skill-it, graph learned": {"levels": ["language"], "skill_eta": 0.5},
    "Skill-it, graph given": {
        "levels": ["language"], "skill_eta": 0.5, "skill_graph": {"mri": {"quy": 0.4}, "quy": {"gug": 0.2}},
    },
}  # fmt: skip
TRANSLATES: dict[str, Any] = {"width": 32, "layers": 1, "heads": 2, "inner": 32, "dropout": 0.1}


def trainings(text_translator: Path) -> dict[str, tuple[str, dict[str, Any]]]:
    """Name -> recipe and its settings.

    Args:
        text_translator: where the one that siamese pre-training and speech translation begin with lies.
    """
    found: dict[str, tuple[str, dict[str, Any]]] = {}
    for kind in ("wav2vec2", "w2v-bert", "best-rq", "hubert", "tera"):
        found[f"pretraining, {kind}"] = "pretrain", {"objective": {"kind": kind}}
    found["pretraining, best-rq, Muon"] = (
        "pretrain", {"objective": {"kind": "best-rq"}, "trainer": {"optimizer": "muon"}},
    )  # fmt: skip
    for name, mix in SAMPLERS.items():
        found[f"pretraining, {name}"] = "pretrain", {"objective": {"kind": "best-rq"}, "data": {"mix": mix}}
        found[f"CTC, {name}"] = "finetune_ctc", {"ctc": {"mix": mix}}
    found["CTC"] = "finetune_ctc", {}
    found["CTC, two views"] = "finetune_ctc", {"ctc": {"consistency_weight": 0.2}}
    found["CTC, utterances joined"] = "finetune_ctc", {"ctc": {"join_probability": 0.4}}
    found["CTC and best-rq"] = "finetune_ctc", {"joint": {"weight": 0.5, "objective": {"kind": "best-rq"}}}
    found["CTC, LoRA"] = "finetune_ctc", {"encoder": WAV2VEC2, "lora": {"rank": 4}}
    found["CTC, adapters"] = "finetune_ctc", {"encoder": WAV2VEC2, "adapter_width": 4}
    found["text translation"] = "train_mt", {
        "source_from": str(MINI / "model"), "target_tokenizer": {"unit": "character"}, "encoder": TRANSLATES,
        "decoder": TRANSLATES, "mt": {"batch_labels": 400, "label_dropout": 0.05},
    }  # fmt: skip
    begun = {"recogniser": str(MINI / "model")}
    transport = {"weight": 20, "freeze_text": True, "bridge": True, "compress": True}
    found["CTC and transport"] = "pretrain_siamese", {
        **begun, "siamese": {"text_from": str(text_translator), **transport},
    }  # fmt: skip
    found["speech translation"] = "train_st", {
        **begun, "decoder_from": str(text_translator), "distil": {"teacher": str(text_translator)}, "adaptor_layers": 1,
    }  # fmt: skip
    found["segmenter"] = "train_segmenter", {"classifier": {"frozen": False, "num_layers": 0}}
    return found


def command(recipe: str, settings: dict[str, Any], manifest: Path, folder: Path) -> list[str]:
    """A small training, its settings written into the folder and its experiment below it."""
    whole: dict[str, Any] = {"manifest": str(manifest), "exp": str(folder / "exp"), **settings}
    whole["trainer"] = {
        "updates": UPDATES, "lr": 3e-3, "evaluate_every": 3, "ema_decay": 0.9, "threads": 1,
        **settings.get("trainer", {}),
    }  # fmt: skip
    if recipe in {"pretrain", "finetune_ctc", "train_segmenter"}:
        whole.setdefault("encoder", CONFORMER)
    if recipe == "pretrain":
        whole["objective"] = {**OBJECTIVE, **settings["objective"]}
        whole["data"] = {"batch_s": 12, **settings.get("data", {})}
    if recipe in {"finetune_ctc", "pretrain_siamese", "train_st"}:
        whole["ctc"] = {"batch_s": 12, **settings.get("ctc", {})}
    if "joint" in settings:
        whole["joint"]["objective"] = {**OBJECTIVE, **settings["joint"]["objective"]}
    folder.mkdir()
    (folder / "conf.yaml").write_text(yaml.safe_dump(whole), encoding="utf-8")
    return [sys.executable, "-m", f"recipes.{recipe}", str(folder / "conf.yaml")]


def undisturbed(words: list[str]) -> None:
    """Run a training to its end."""
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(words)} failed:\n{done.stderr}")


def killed(words: list[str], exp: Path, kills: int, draw: random.Random) -> list[str]:
    """Kill a training some times, then run it to its end; where it was each time it was killed."""
    checkpoints = exp / "checkpoints"
    where = []
    for number in range(kills):
        before = {path.name for path in checkpoints.glob("update_*")}
        process = subprocess.Popen(
            words, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        delay = draw.uniform(0, 0.5)
        while process.poll() is None:
            new = {path.name for path in checkpoints.glob("update_*")} - before
            if number % 2 == 0 and any(name.endswith(".partial") for name in new):
                break
            if number % 2 == 1 and any(not name.endswith(".partial") for name in new):
                time.sleep(delay)
                break
            time.sleep(0.0005)
        process.kill()
        said = process.communicate()[1]
        if process.returncode > 0:
            sys.exit(f"{' '.join(words)} failed:\n{said}")
        if process.returncode == 0:
            break
        writing = any(checkpoints.glob("*.partial"))
        last = whole_checkpoints(checkpoints)
        after = int(last[-1].name.removeprefix("update_")) if last else 0
        where.append(f"{after}, writing" if writing else str(after))
    undisturbed(words)
    return where


def differences(one: Path, other: Path) -> list[str]:
    """What two experiments' last checkpoints and scores do not have alike."""
    first, second = (whole_checkpoints(exp / "checkpoints")[-1] for exp in (one, other))
    if first.name != second.name:
        return [f"{first.name} and {second.name}"]
    sums = [json.loads((folder / SUMS).read_text()) for folder in (first, second)]
    found = [
        name
        for name in sorted({*sums[0], *sums[1]} - {"state.json"})
        if sums[0].get(name) != sums[1].get(name)
    ]
    states = [json.loads((folder / "state.json").read_text())["task"] for folder in (first, second)]
    if states[0] != states[1]:
        found.append("the task's state")
    scores = [
        [json.loads(line)["score"] for line in (exp / "history.jsonl").read_text().splitlines()]
        for exp in (one, other)
    ]
    if scores[0] != scores[1]:
        found.append("scores on dev")
    return found


def main() -> None:
    """Train, kill, compare, and end with the figures."""
    options = common.parser("Whether killed trainings reach the same bits.")
    options.add_argument(
        "--kills", type=int, default=4, help="how often each training is killed (default: %(default)s)"
    )
    options.add_argument(
        "--only", nargs="+", default=[], metavar="NAME", help="trainings whose names contain one of these"
    )
    args = options.parse_args()
    machine = common.start("killing trainings", PROTOCOL)
    kills = 2 if args.quick else args.kills
    draw = random.Random(0)
    os.environ["OMP_NUM_THREADS"] = "1"
    rows, different = [], {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        mini = read_manifest(MINI / "data" / "manifest.tsv")
        train = [row for row in mini if row.split == "train"]
        manifest = folder / "manifest.tsv"
        dev = [row for row in mini if row.split == "dev"]
        write_manifest([*train[:: len(train) // 48][:48], *dev[:: len(dev) // 9][:9]], manifest)
        wanted = trainings(folder / "text translation.0" / "exp")
        quick = list(wanted)[:: 8 if args.quick else 1]
        for training, (recipe, settings) in wanted.items():
            asked = any(part in training for part in args.only) if args.only else training in quick
            whole = folder / f"{training}.0"
            if asked or training == "text translation":  # others begin with that
                undisturbed(command(recipe, settings, manifest, whole))
            if not asked:
                continue
            parts = folder / f"{training}.1"
            where = killed(command(recipe, settings, manifest, parts), parts / "exp", kills, draw)
            different[training] = differences(whole / "exp", parts / "exp")
            rows.append((training, "; ".join(where), ", ".join(different[training]) or "the same"))
            print(*rows[-1], sep=" | ")
    print()
    common.table(("training", "killed after update", "last checkpoint"), rows)
    common.finish(
        {
            "benchmark": "resume",
            "quick": args.quick,
            "trainings": len(rows),
            "kills": sum(len(row[1].split("; ")) for row in rows if row[1]),
            "different": {name: what for name, what in different.items() if what},
            "machine": machine,
        }
    )
    if any(different.values()):
        sys.exit(1)


if __name__ == "__main__":
    main()
