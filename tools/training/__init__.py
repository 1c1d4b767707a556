"""Training: LoRA adapters in phases such as SFT and DPO, with a decision before and checks around them."""
