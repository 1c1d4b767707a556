"""Every error that Corral raises on purpose, in one tree.

    CorralError                 exit 1
    ├── BadInput                exit 2   the request, a file or a name is wrong; nothing was spent
    │   ├── NothingDeployed              a registry has no current version yet
    │   ├── UnknownRun                   no run of that name
    │   ├── UnknownAnswer                no answer of that id was served
    │   ├── UnreadableRun                another version wrote the run's request, and this one cannot read it
    │   ├── UnknownModel                 no served version of that name
    │   ├── PromptTooLong                prompt and answer do not fit into the served model's context
    │   ├── RunBusy                      another process holds the run's lease
    │   ├── RunWaiting                   a new input for a run that waits for a person
    │   ├── AlreadyDecided               another person, or the same, decided on the item before
    │   └── StaleQuestion                an answer to what the run does not ask any more
    ├── LeaseLost               exit 4   another process has taken the run over from this one
    ├── StorageError            exit 2   disk full, read-only, or the database is out of reach
    │   └── DamagedCheckpoint            a run's checkpoint cannot be read back; the run goes on from an earlier one
    ├── EndpointError           exit 1   a model endpoint did not give a usable answer
    │   ├── EndpointUnreachable exit 2   no connection, or a server that answers no call any more
    │   ├── EndpointRefused     exit 2   wrong key, unknown model, no such path
    │   ├── AnswersUnusable     exit 2   it answers, but none of its first answers could be used
    │   └── CallFailed          exit 1   this one call, after its tries; another may well be answered
    │       ├── EndpointFailing exit 1   a server error, no answer in time, or a broken one
    │       ├── RateLimited     exit 1   still limited after every retry
    │       ├── CallRefused     exit 1   the server will not take this request
    │       └── AnswerInvalid   exit 1   not the asked JSON, twice
    ├── BudgetExceeded          exit 3   the next call would pass the cap; a person may raise it
    ├── CallDeferred            exit 1   a call waits for a batch; its row goes on when that is answered
    ├── CrewFailed              exit 1   CrewAI failed in the judging crew, or the process that it works in ended
    └── TrainingError           exit 1   the training process failed

Foreign errors are wrapped where they enter (the store, the endpoint client, the training launcher), so code above
never catches a library's own. A message says what was wrong, where, and what to do.

An endpoint's error is one of two sorts. ``CallFailed`` fails the row that the call was for, and the others go on.
``EndpointUnreachable``, ``EndpointRefused`` and ``AnswersUnusable`` would meet every other row too, so they end the
step, which is resumed when their cause is gone.
"""

from __future__ import annotations

from datetime import datetime


class CorralError(RuntimeError):
    """The root. ``exit_code`` is what the command line ends with.

    A ``RuntimeError``, since LangGraph's server tells its clients the message of Python's own errors alone.
    """

    exit_code = 1


class BadInput(CorralError):
    """Something the user gave is wrong; it was refused before anything was spent."""

    exit_code = 2


class NothingDeployed(BadInput):
    """A registry has no current version yet."""


class UnknownRun(BadInput):
    """No run of that name in the record store."""


class UnknownAnswer(BadInput):
    """No answer of that id was served, or its text was withdrawn."""


class UnreadableRun(BadInput):
    """A run's stored request does not fit this version."""


class UnknownModel(BadInput):
    """Nothing of that name is served."""


class PromptTooLong(BadInput):
    """A prompt, with the answer that is wanted, is longer than the served model's context."""


class RunBusy(BadInput):
    """Another live process holds the lease of this run."""


class RunWaiting(BadInput):
    """The run waits at an interrupt: a new input would drop it."""


class AlreadyDecided(BadInput):
    """An item was decided before, and the first decision counts.

    Args:
        who: the person whose decision counts.
        when: when it was taken.
        decision: what it was, as a past participle.
        advice: what else to say.

    Attributes:
        who: the person whose decision counts.
        when: when it was taken.
    """

    def __init__(self, who: str, when: datetime, decision: str, advice: str = "") -> None:
        said = f"this item was {decision} by {who} at {when:%Y-%m-%d %H:%M:%S} UTC, and the first decision counts"
        super().__init__(f"{said}; {advice}" if advice else said)
        self.who = who
        self.when = when


class StaleQuestion(BadInput):
    """The run asks nothing any more, or something else than what was answered."""


class LeaseLost(CorralError):
    """This process worked on a run that another has taken over, or that it could not show to be its own any more."""

    exit_code = 4


class StorageError(CorralError):
    """The database or a folder cannot be read or written."""

    exit_code = 2


class DamagedCheckpoint(StorageError):
    """What is stored of a run's state is not what was written there."""


class EndpointError(CorralError):
    """A model endpoint did not give a usable answer."""


class EndpointUnreachable(EndpointError):
    """No connection to the endpoint, or so many calls in a row failed that further ones are pointless."""

    exit_code = 2


class EndpointRefused(EndpointError):
    """The endpoint refuses all our calls: wrong key, no credit, unknown model, no such path."""

    exit_code = 2


class AnswersUnusable(EndpointError):
    """None of the first answers of a model to one purpose could be used, so that no more are paid for."""

    exit_code = 2


class CallFailed(EndpointError):
    """One call failed after all its tries; other calls may well succeed."""


class EndpointFailing(CallFailed):
    """The server could be reached, but every try ended in an error, a timeout or a broken answer."""


class RateLimited(CallFailed):
    """The rate limit still applied after every retry."""


class CallRefused(CallFailed):
    """The endpoint will not take this request: too long, filtered, or malformed."""


class AnswerInvalid(CallFailed):
    """The answer did not fit the asked JSON schema, twice."""


class CallDeferred(CorralError):
    """A call waits for a batch: what needs its answer is done again when that is in the ledger."""


class BudgetExceeded(CorralError):
    """The next call would pass the spending cap, so it was not made.

    Args:
        spent: dollars that are spent.
        cap: dollars that may be spent.
        advice: how to go on; a run's by default.

    Attributes:
        spent: dollars that are spent.
        cap: dollars that may be spent.
    """

    exit_code = 3

    def __init__(
        self,
        spent: float,
        cap: float,
        advice: str = "Answer the run's interrupt with a higher cap (corral approve RUN --budget DOLLARS) to go on.",
    ) -> None:
        limit = f"{cap:.4f}" if cap >= 1e-4 or not cap else f"{cap:g}"
        super().__init__(f"the next call would pass the budget: ${spent:.4f} of ${limit} is spent. {advice}")
        self.spent = spent
        self.cap = cap


class CrewFailed(CorralError):
    """The judging crew did not come to its end: CrewAI failed, or the process that it works in ended."""


class TrainingError(CorralError):
    """The training process ended without an adapter."""
