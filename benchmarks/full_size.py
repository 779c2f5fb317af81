"""A step of stage 1 and of stage 2 at full size, through the commands' own code, on random weights.

    stablemtl synth --out data/mini --count 4
    python benchmarks/full_size.py --data data/mini --height 64 --width 64 --steps 2

A base model of Stable Diffusion 2's sizes with random weights is written first (3.8 GB), then both stages are
trained from it for a few steps. Stage 2 trains adapters in the UNet and all of the task attention by default:
all of its weights with Adam need 24 GB beside the activations (--no-lora).
"""

from __future__ import annotations

import json
import resource
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
import tyro
from diffusers import AutoencoderKL, UNet2DConditionModel
from measure import SD2_UNET, environment

from stablemtl.recipes import stage1, stage2
from stablemtl.training.config import StageRun
from stablemtl.training.lora import LoraOptions
from stablemtl.training.stages import train_stage


@dataclass(kw_only=True)
class FullSizeOptions:
    """Full-size training steps on random weights."""

    data: Path
    """Data folder with train frames, of any size."""
    out: Path = Path("runs/full-size")
    """Receives the base model and both runs; 15 GB."""
    height: int = 64
    """Height of the training samples [px]."""
    width: int = 64
    """Width of the training samples [px]."""
    batch: int = 1
    """Samples of a micro-batch."""
    steps: int = 2
    """Optimizer steps of each stage."""
    lora: bool = True
    """Stage 2 trains adapters in the UNet, not all of its weights."""
    precision: Literal["no", "bf16"] = "no"
    """Mixed precision."""


def main(options: FullSizeOptions) -> None:
    base = options.out / "base"
    if not (base / "unet" / "config.json").is_file():
        write_base(base)
    rows = []
    for recipe in (stage1(), stage2()):
        run = prepared(options, recipe, base)
        start = time.perf_counter()
        train_stage(run)
        lines = [json.loads(line) for line in (run.out / "train.jsonl").read_text().splitlines()]
        steps = [line for line in lines if "loss" in line]
        rate = steps[-1]["steps_per_second"]
        row = {
            "stage": run.stage,
            "steps": len(steps),
            "loss": [line["loss"] for line in steps],
            "images_per_second": round(rate * options.batch, 3),
            "seconds_in_all": round(time.perf_counter() - start, 1),
            "peak_GB_of_the_process": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 1),
        }
        if torch.cuda.is_available():
            row["peak_GB_of_the_device"] = round(torch.cuda.max_memory_allocated() / 1e9, 1)
            torch.cuda.reset_peak_memory_stats()
        rows.append(row)
        print(json.dumps(row), flush=True)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    content = {"environment": environment(device), "rows": rows}
    (options.out / "full_size.json").write_text(json.dumps(content, indent=2, default=str) + "\n")


def prepared(options: FullSizeOptions, recipe: StageRun, base: Path) -> StageRun:
    """The recipe with small samples and few steps."""
    loop = replace(
        recipe.loop,
        steps=options.steps,
        batch_size=options.batch,
        accumulation=1,
        log_every=1,
        checkpoint_every=10**6,
        keep_last=1,
        preview_every=0,
        schedule="cosine",
        warmup_steps=0,
        mixed_precision=options.precision,
        trackers=(),
    )
    data = replace(recipe.data, root=options.data, size=(options.height, options.width), workers=0)
    run = replace(recipe, loop=loop, data=data, out=options.out / f"stage{recipe.stage}", resume=False)
    if recipe.stage == 1:
        return replace(run, base=str(base), save_dtype="float16")
    lora = LoraOptions() if options.lora else None
    return replace(run, init=options.out / "stage1" / "pipeline", lora=lora, save_dtype="float16")


def write_base(folder: Path) -> None:
    """Stable Diffusion 2's UNet and codec with random weights; a small text encoder of the same width."""
    from transformers import CLIPTextConfig, CLIPTextModel

    torch.manual_seed(0)
    UNet2DConditionModel(**{**SD2_UNET, "in_channels": 4}).save_pretrained(folder / "unet")
    AutoencoderKL(
        block_out_channels=(128, 256, 512, 512),
        layers_per_block=2,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
    ).save_pretrained(folder / "vae")
    characters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    vocabulary = [*characters, *(f"{c}</w>" for c in characters), "<|startoftext|>", "<|endoftext|>"]
    CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(vocabulary),
            hidden_size=1024,
            intermediate_size=256,
            num_hidden_layers=1,
            num_attention_heads=16,
            bos_token_id=len(vocabulary) - 2,
            eos_token_id=len(vocabulary) - 1,
        )
    ).save_pretrained(folder / "text_encoder")
    tokenizer = folder / "tokenizer"
    tokenizer.mkdir(exist_ok=True)
    (tokenizer / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(vocabulary)}))
    (tokenizer / "merges.txt").write_text("#version: 0.2\n")
    (tokenizer / "tokenizer_config.json").write_text('{"tokenizer_class": "CLIPTokenizer"}')


if __name__ == "__main__":
    main(tyro.cli(FullSizeOptions, description=(__doc__ or "").split("\n\n")[0]))
