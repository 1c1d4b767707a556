"""Run by LLaMA-Factory's own Python: reads an exported data folder, and prints its datasets as it aligns them."""

import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace

os.environ["DISABLE_VERSION_CHECK"] = "1"

from llamafactory.data.loader import _load_single_dataset
from llamafactory.data.parser import get_dataset_list
from llamafactory.hparams import DataArguments

folder, _, cache = map(Path, sys.argv[1:])
names = list(json.loads((folder / "dataset_info.json").read_text()))
data = DataArguments(dataset_dir=str(folder))
model = SimpleNamespace(cache_dir=str(cache), hf_hub_token=None, ms_hub_token=None, om_hub_token=None)
training = SimpleNamespace(local_process_index=0, should_log=True, seed=1)
print(
    json.dumps(
        {
            name: [[row["_prompt"], row["_response"]] for row in _load_single_dataset(described, model, data, training)]
            for name, described in zip(names, get_dataset_list(names, str(folder)), strict=True)
        }
    )
)
