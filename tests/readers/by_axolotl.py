"""Run by Axolotl's own Python: reads an exported folder as its config says, and prints each row as it would train."""

import json
import sys
from pathlib import Path

import yaml
from axolotl.prompt_strategies import load
from axolotl.prompt_strategies.dpo import load as load_dpo
from axolotl.utils.dict import DictDefault
from datasets import load_dataset
from transformers import AutoTokenizer

folder, base, cache = map(Path, sys.argv[1:])
tokenizer = AutoTokenizer.from_pretrained(base)
text = (folder / "axolotl.yaml").read_text()
(sft,) = yaml.safe_load(text)["datasets"]
(dpo,) = yaml.safe_load(text.split("in the place of the above:\n")[1].replace("# ", "", 1).replace("\n# ", "\n"))[
    "datasets"
]


def config(described):
    shared = {"sequence_len": 512, "train_on_inputs": False, "chat_template": "tokenizer_default"}
    return DictDefault({"datasets": [described], **shared})


def rows(described):
    files = str(folder / described["path"])
    return load_dataset(described["ds_type"], data_files=files, split="train", cache_dir=str(cache))


strategy = load(sft["type"], tokenizer, config(sft), DictDefault(sft))
taught = []
for row in rows(sft):
    found = strategy.tokenize_prompt(row)
    taught.append([tokenizer.decode(found["input_ids"]), tokenizer.decode([t for t in found["labels"] if t != -100])])
transform, _ = load_dpo(dpo["type"], config(dpo), dataset_idx=0)
print(json.dumps({"sft": taught, "dpo": [transform(row, tokenizer=tokenizer) for row in rows(dpo)]}))
