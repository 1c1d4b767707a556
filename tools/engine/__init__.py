"""What answers for the served versions: llama.cpp in this process, or a vLLM server elsewhere. The API is the same."""
