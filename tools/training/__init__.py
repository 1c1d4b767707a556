"""Training: LoRA adapters by SFT and DPO, in a process that can be killed and goes on."""
