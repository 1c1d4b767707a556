"""Crews of CrewAI agents that run the whole workflow: who they are, what they do, and what decides for them.

sequential/, hierarchical/  agents.yaml and tasks.yaml of the two crews
reading.py     a crew's folder, read and checked
rules.py       the decision trees as rules: what an agent does next, as a pure function
llms.py        what answers for the agents: the rules, or an endpoint behind the ledger
building.py    the CrewAI crew of what was read

The tools that agents use work on runs, so they are in ``graph/crews``.
"""
