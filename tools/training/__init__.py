"""Training and answering: the base model's weights, LoRA by SFT and DPO, and answers of base and adapter."""
