"""A model on this machine: files, chat template, answers and likelihoods, whatever they are used for."""
