"""What a crew's agents work with: the session of one crew, the tools over the pipeline's own parts, and the kickoff.

session.py    the plan, the run, the cap of what is asked outside of the run, and what was done
journal.py    the same line by line on disk, so that a crew that was killed goes on
texts.py      tools over rows: similarity, gates, categories, tokens, forms
work.py       tools over the run: start, rounds, training, evaluation, report
catalogue.py  all tools by name, with their arguments
crewai_tools.py, kickoff.py  the same as CrewAI's and LangChain's tools; and a crew run from its beginning to its end
"""
