"""Whether a run may train on a judge: its measurements against people, and against what costs nothing. Pure.

A judge is licensed in the mode in which it is used, on each set of labels that it was measured on. Who measures many
judges of one model on the same labels and takes the best is flattered by chance: each further judge makes the intervals
wider (Bonferroni).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from state.records import Record
from state.request import Judging, RunRequest
from state.wording import number_of
from tools.judging.calibration import Calibration
from tools.judging.figures import Mode, ModeFigures
from tools.judging.fingerprint import same_model
from tools.sources.labels import FEW
from tools.statistics.clustered import LEVEL

MOST_UNJUDGED = 0.1
"""Share of a set's labels that a judge may leave unjudged: who refuses the hard ones looks good on the rest."""


class Licence(Record):
    """What a licence comes to."""

    judge: str
    refusals: tuple[str, ...]
    """Why the judge is not licensed; empty where it is."""

    @property
    def granted(self) -> bool:
        """Whether a run may train on the judge's scores."""
        return not self.refusals


def modes_used(request: RunRequest) -> tuple[Mode, ...]:
    """Return the modes in which a run uses its judge: scores for the training, pairs for the win rate."""
    return ("rating", "asked") if request.evaluate.judged_pairs else ("rating",)


def licence_of(
    judge: str,
    calibrations: Iterable[Calibration],
    settings: Judging,
    modes: Collection[Mode],
    *,
    fingerprint: str = "",
) -> Licence:
    """Return whether a judge is licensed.

    Args:
        judge: its identity.
        calibrations: all there are, of this judge and of others.
        settings: what ``judge.licence`` and ``judge.max_flips`` demand.
        modes: in which the judge is used.
        fingerprint: of the judge's model now; empty where it is not known.
    """
    if settings.licence is None:
        return Licence(judge=judge, refusals=())
    every = list(calibrations)
    own = [one for one in every if one.judge == judge and one.split != "tune" and one.kind != "decisions"]
    if not own:
        decided = " by labels of pairs or ratings" if any(one.judge == judge for one in every) else ""
        return Licence(judge=judge, refusals=(f"it was never measured{decided}: corral calibrate LABELS.jsonl",))
    known = fingerprint or own[-1].fingerprint
    if not (own := [one for one in own if same_model(one.fingerprint, known)]):
        return Licence(judge=judge, refusals=("the model behind its name answers otherwise than when it was measured",))
    refusals = []
    for one in counted(own):
        looks = len({other.judge for other in every if _same_look(other, one)})
        refusals += [f"{one.source or one.kind}: {why}" for why in _against(one, settings, modes, looks)]
    return Licence(judge=judge, refusals=tuple(refusals))


def counted(own: Sequence[Calibration]) -> list[Calibration]:
    """Return the newest measurement of each set; small sets count only where there is no other."""
    newest = list({(one.set_hash or one.labels_hash): one for one in own}.values())
    large = [one for one in newest if one.labels - one.failed >= FEW]
    return large or newest


def _same_look(other: Calibration, one: Calibration) -> bool:
    """Return whether a measurement looked at the same labels with the same model, whatever prompts it was asked by."""
    return other.set_hash == one.set_hash and other.split != "tune" and model_of(other.judge) == model_of(one.judge)


def model_of(judge: str) -> str:
    """Return the head of a judge's identity: how it judges, and its model's name."""
    return judge.rpartition("@")[0].rpartition("/")[0]


def _against(one: Calibration, settings: Judging, modes: Collection[Mode], looks: int) -> list[str]:
    found = []
    if one.failed > MOST_UNJUDGED * one.labels:
        found.append(
            f"it judged {one.labels - one.failed} of {one.labels} labels; what it does not judge may be what it cannot"
        )
    for mode in modes:
        figures = one.mode(mode)
        if figures is None and one.kind == "ratings" and "rating" in modes and mode == "asked":
            found.append("asked for the better of two it was not measured: single ratings cannot say it")
        elif figures is None:
            found.append(f"it was not measured in the mode '{mode}'; corral calibrate measures both on pairs")
        else:
            found += [f"{mode}: {why}" for why in refusals_of(figures, settings, looks)]
    return found


def refusals_of(figures: ModeFigures, settings: Judging, looks: int = 1) -> list[str]:
    """Return what speaks against a judge in one mode.

    Args:
        figures: of the mode.
        settings: what is demanded.
        looks: judges of the same model that were measured on the same labels.
    """
    demanded = settings.licence or 0.0
    kappa = figures.kappa_at(LEVEL / max(1, looks))
    found = []
    if kappa.low <= demanded:
        looked = f", after {looks} judges of this model on the same labels" if looks > 1 else ""
        found.append(f"kappa {kappa.value:.2f}, at least {kappa.low:.2f}{looked}; more than {demanded:g} is demanded")
    for baseline in figures.baselines:
        if baseline.gain.low <= 0:
            gain = baseline.gain
            found.append(
                f"not shown better than '{baseline.name}', which agrees with people on {baseline.agreement:.0%}: "
                f"{100 * gain.value:+.0f} points [{100 * gain.low:+.0f}, {100 * gain.high:+.0f}]"
            )
    if figures.flips is not None and figures.flips.value > settings.max_flips:
        found.append(f"{figures.flips.value:.0%} of its choices turn with the order; {settings.max_flips:.0%} may")
    for part in figures.parts:
        if part.kappa.high < 0:
            measured = f"kappa {part.kappa.value:.2f} on {number_of(part.labels, 'label')}"
            found.append(f"worse than chance where {part.name}: {measured}")
    return found
