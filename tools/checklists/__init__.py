"""Checklists: what is checked of each part of a run, by whom it concerns.

items.py       an item, and lists of them
data.py        the generation of data, before, during and after; the quality of the instructions and of the dataset
deployment.py  an adapter that is to be deployed: model, infrastructure, documentation, operations

That of a training is with the training (``tools/training/checklists.py``).
"""
