"""A model on this machine: files, chat template, answers and likelihoods. It does not know what they are for."""
