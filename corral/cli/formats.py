"""Row formats, as ``--help`` shows them below the options of each command that reads a file or writes one."""

LINES = "Rows may be JSON Lines, one JSON array, CSV, TSV or Parquet; and each of them compressed, as .gz, .bz2 or .xz."
"""What ``tools.sources`` reads, for every command that reads rows."""
CHECKED = '"checks": [{"kind": "max_words", "value": 60}]'
CONFIG = (
    "A config is YAML with the sections that 'corral settings' lists; 'corral init' writes one. Its sources:"
    f'\n\nprompts: {{"prompt": "...", {CHECKED}, "split": "train"}}, or rows of IFEval'
    '\n\nseeds: {"id": "...", "name": "...", "instruction": "...", "instances": [{"input": "", "output": "..."}]}'
    f"\n\n{LINES}"
)
DECISIONS = (
    "The answers of one page: one decision for each item, in the order in which they are shown."
    '\n\n{"decisions": [{"type": "approve"}, {"type": "reject", "message": "why"}, '
    '{"type": "edit", "edited_action": {"name": "...", "args": {"completion": "..."}}}]}'
    "\n\nLines of --decisions, as --json prints them with the decision filled in: approve, edit, reject, prefer_a, "
    'prefer_b, cannot_judge or skip.\n\n{"item_id": "...", "decision": "edit", "text": "...", "comment": "", '
    '"ratings": {"overall": 4, "honesty": 5}, "rater": "ada"}'
    "\n\n--import reads what --export writes: such lines, records of Argilla, or annotated tasks of Label Studio."
)
EXPORTED = (
    'alpaca: {"instruction": "...", "input": "", "output": "..."}, one JSON array'
    '\n\nsft: {"prompt": [{"role": "user", "content": "..."}], "completion": [{"role": "assistant", ...}]}, one a line'
    '\n\ndpo: {"prompt": [...], "chosen": [...], "rejected": [...]}, of the same messages, one a line'
    '\n\nsharegpt: {"conversations": [{"from": "human", "value": "..."}, ...]}; messages: {"messages": [{"role": ...}]}'
    "\n\nllama-factory: a data folder with dataset_info.json; axolotl: rows and the part of a config; argilla: records"
)
ALPACA = (
    f'Each row of FILE: {{"instruction": "...", "input": "", "output": "..."}}. {LINES}'
    '\n\nSeed tasks: {"id": "...", "name": "...", "instruction": "...", "instances": [{"input": "", "output": "..."}]}'
)
OUTPUTS = (
    f'Each row: {{"prompt": "...", "output": "..."}}. {LINES}'
    '\n\n"instruction" and "input" are read for "prompt", and "model_output" for "output"; "conversations" (ShareGPT) '
    'and "messages" for both.'
    f'\n\nA row may have {CHECKED} and a "context": {{"brand": "..."}}.'
)
PROMPTS = (
    f'Each row of the prompts file: {{"prompt": "...", {CHECKED}}}. {LINES}'
    '\n\nRows of IFEval are read too: {"prompt": "...", "instruction_id_list": ["..."], "kwargs": [{}]}'
)
COMPARED = f"{OUTPUTS}\n\n{PROMPTS}"
LABELS = (
    f"All rows of a file are of one kind. {LINES}"
    '\n\n{"prompt": "...", "output": "...", "rating": 4}: a rating from 1 to 5'
    '\n\n{"prompt": "...", "output_1": "...", "output_2": "...", "label": 1}: the better one, 1 or 2; 0 for a tie'
    "\n\nAs they are published: PandaLM, auto-j, LLMBar, JudgeBench, alpaca_eval, RewardBench 1 and 2, MT-Bench"
)
