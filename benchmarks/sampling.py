"""How many tokens does a CPU-second give: Corral's batched decoding, transformers' ``generate``, and llama.cpp?

    python benchmarks/sampling.py [--prompts 96] [--repeats 3]

All sample one answer to the same training prompts of ``seeds/prompts.jsonl`` from the embedded model, in a process of
their own with one thread, in turn. ``generate`` gets its prompts sorted by length, in batches of several sizes;
llama.cpp gets the weights in Q4_0 and in Q8_0, all matrices alike, and several numbers of answers at a time. The way
with the highest median is each one's best. Tokens are those of the answers, at most 144 of each. CPU time is that of
the whole process from the first prompt on: without loading, and with llama.cpp's own HTTP server, which is how Corral's
engine asks it. The last line is JSON; a ratio above 1 means that Corral writes more.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tools.settings import load_settings
from tools.weights import gguf_files
from tools.weights.folders import base_folder
from tools.weights.processes import ROOT, child_environment
from tools.weights.template import load_tokenizer, prompt_tokens, template_head

MOST_TOKENS = 144
TEMPERATURE, TOP_P = 1.0, 0.95
BATCHES, SLOTS = (16, 32, 96), (8, 32)
"""Rows that ``generate`` decodes together, and answers that llama.cpp writes at a time."""
WARM_UP = 8
Prompts = list[list[int]]
Work = Callable[[Prompts], int]


def prompts_of(base: Path, count: int) -> Prompts:
    """Return the token ids of the first training prompts."""
    rows = [json.loads(line) for line in (ROOT / "seeds" / "prompts.jsonl").read_text().splitlines()]
    texts = [row["prompt"] for row in rows if row["split"] == "train"][:count]
    tokenizer = load_tokenizer(base)
    return [prompt_tokens(tokenizer, [{"role": "user", "content": text}]) for text in texts]


def corral(base: Path) -> Work:
    from tools.weights.decoding import Prompt, decode, end_tokens
    from tools.weights.invariance import invariant_sizes
    from tools.weights.loading import load_model

    tokenizer, model = load_tokenizer(base), load_model(base, None)
    ends, head, sizes = end_tokens(model, tokenizer), template_head(tokenizer), invariant_sizes(model)

    def work(prompts: Prompts) -> int:
        rows = [Prompt(tuple(tokens), Random(place)) for place, tokens in enumerate(sorted(prompts, key=len))][::-1]
        options = {"max_tokens": MOST_TOKENS, "temperature": TEMPERATURE, "top_p": TOP_P}
        return sum(len(row.tokens) for row in decode(model, rows, ends, sizes=sizes, head=head, **options))

    return work


def generate(base: Path, batch: int) -> Work:
    import torch

    from tools.weights.decoding import end_tokens
    from tools.weights.loading import load_model

    tokenizer, model = load_tokenizer(base, "left"), load_model(base, None)
    ends = end_tokens(model, tokenizer)
    options = {"do_sample": True, "temperature": TEMPERATURE, "top_p": TOP_P, "top_k": 0}

    def work(prompts: Prompts) -> int:
        written, ordered = 0, sorted(prompts, key=len)
        for start in range(0, len(ordered), batch):
            rows = tokenizer.pad({"input_ids": ordered[start : start + batch]}, return_tensors="pt")
            with torch.inference_mode():
                found = model.generate(
                    **rows, max_new_tokens=MOST_TOKENS, pad_token_id=tokenizer.pad_token_id, **options
                )
            for tokens in found[:, rows["input_ids"].shape[1] :].tolist():
                written += next((at for at, token in enumerate(tokens) if token in ends), len(tokens))
        return written

    return work


def llamacpp(weights: Path, slots: int) -> Work:
    from xllamacpp import CommonParams, Server

    parameters = CommonParams()
    parameters.model.path = str(weights)
    parameters.n_parallel, parameters.n_ctx = slots, slots * 1_024
    parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = 1
    parameters.cache_ram_mib = 0
    parameters.verbosity = -1
    parameters.ui = False
    server = Server(parameters)

    async def ask_all(prompts: Prompts) -> int:
        import aiohttp

        patient = aiohttp.ClientTimeout(total=None)
        async with aiohttp.ClientSession(timeout=patient) as session, asyncio.TaskGroup() as group:
            gate = asyncio.Semaphore(slots)

            async def ask(place: int, tokens: list[int]) -> int:
                body: dict[str, Any] = {"prompt": tokens, "n_predict": MOST_TOKENS, "seed": place, "cache_prompt": True}
                body |= {"temperature": TEMPERATURE, "top_p": TOP_P, "top_k": 0, "min_p": 0.0}
                async with gate, session.post(f"{server.listening_address}/completion", json=body) as response:
                    response.raise_for_status()
                    return int((await response.json())["tokens_predicted"])

            asked = [group.create_task(ask(place, tokens)) for place, tokens in enumerate(prompts)]
        return sum(one.result() for one in asked)

    return lambda prompts: asyncio.run(ask_all(prompts))


def write_quantised(base: Path, target: Path, kind: str) -> None:
    """Write a base's weights as GGUF with all matrices in one format."""
    import gguf

    formats = gguf.GGMLQuantizationType
    gguf_files._number_format = lambda dimensions, _: formats.F32 if dimensions == 1 else formats[kind]
    gguf_files._convert(base, target)


def sample_here(base: Path, way: str, weights: str, count: int) -> None:
    """Sample in one way, and print tokens and CPU seconds."""
    engine, *setting = way.split()
    match engine:
        case "corral":
            work = corral(base)
        case "generate":
            work = generate(base, int(setting[0]))
        case _:
            work = llamacpp(Path(weights), int(setting[1]))
    prompts = prompts_of(base, count)
    work(prompts[:WARM_UP])
    start = time.process_time()
    tokens = work(prompts)
    print(json.dumps([tokens, time.process_time() - start]))


def pace(way: str, weights: Path | None, count: int) -> float:
    """Return tokens a CPU-second of one way, in a process of its own."""
    command = [sys.executable, __file__, "--way", way, "--weights", str(weights or ""), "--prompts", str(count)]
    environment = child_environment(threads=1)
    # Corral's model processes end when their input closes; this one reads none.
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed; run it by hand to see why")
    tokens, seconds = json.loads(done.stdout.splitlines()[-1])
    print(f"  {way:16} {tokens:>7,} tokens {seconds:>8.1f} CPU-s {tokens / seconds:>7.1f} tokens a CPU-s", flush=True)
    return float(tokens / seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--prompts", type=int, default=96)
    parser.add_argument("--repeats", type=int, default=3)
    for hidden in ("--way", "--weights"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    base = base_folder("embedded", load_settings().cache)
    if arguments.way:
        sample_here(base, arguments.way, arguments.weights, arguments.prompts)
        return

    with tempfile.TemporaryDirectory() as folder:
        files = {kind: Path(folder) / f"{kind}.gguf" for kind in ("Q4_0", "Q8_0")}
        for kind, file in files.items():
            write_quantised(base, file, kind)
        ways: dict[str, Path | None] = {"corral": None}
        ways |= dict.fromkeys([f"generate {batch}" for batch in BATCHES])
        ways |= {f"llama.cpp {kind} {slots}": file for kind, file in files.items() for slots in SLOTS}
        found: dict[str, list[float]] = {way: [] for way in ways}
        for repeat in range(arguments.repeats):
            print(f"{repeat + 1} of {arguments.repeats}")
            for way, weights in ways.items():
                found[way].append(pace(way, weights, arguments.prompts))
    medians = {way: statistics.median(paces) for way, paces in found.items()}
    best = {
        engine: max((way for way in medians if way.startswith(engine)), key=lambda way: medians[way])
        for engine in ("corral", "generate", "llama.cpp")
    }
    own = medians[best["corral"]]
    for way in best.values():
        print(f"best: {way}, {medians[way]:.1f} tokens a CPU-second")
    ratios = {
        "ratio_generate": round(own / medians[best["generate"]], 2),
        "ratio_llamacpp": round(own / medians[best["llama.cpp"]], 2),
    }
    print(json.dumps({**ratios, "tokens_per_cpu_second": round(own, 1), "best": best}))


if __name__ == "__main__":
    main()
