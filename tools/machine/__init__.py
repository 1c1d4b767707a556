"""What this machine has: cores, memory, disk, GPUs."""
