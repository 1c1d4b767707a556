"""The rows of users' files: prompts, seed tasks, Alpaca rows, items to judge, labels and IFEval's rows."""
