"""What this machine has, cores, memory, disk, GPUs, and how a process of ours uses it."""
