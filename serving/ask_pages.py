"""A page on which a person asks what is deployed, and says what the answer is worth."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Form, Request
from fastapi.responses import RedirectResponse, Response

from graph.runs import Runs
from graph.served import give_feedback
from serving.access import BODY_BYTES, Who, own_form, who
from serving.chat import Answering
from serving.chat.errors import api_error
from serving.chat.requests import GenerateRequest
from serving.chat.service import OpenChat
from serving.chat.streaming import HUNG_UP, HungUp, unless_gone
from serving.pages import render
from serving.services import OpenRuns
from state.errors import UnknownAnswer
from state.feedback import ServedAnswer, feedback_id

router = APIRouter(prefix="/ask", dependencies=[Depends(who), Depends(own_form)], max_body_size=BODY_BYTES)
Text = Annotated[str, Form()]


@router.get("")
async def show_form(request: Request, caller: Who) -> Response:
    """Show the form."""
    return _form(request, caller)


@router.post("")
async def ask(request: Request, caller: Who, chat: OpenChat, instruction: Text = "", input: Text = "") -> Response:
    """Answer with what is deployed, as ``/generate`` does, and lead to the answer."""
    instruction, input = _typed(instruction), _typed(input)
    if not instruction:
        return _form(request, caller, message="Write what it should do.", status=422)
    asked = GenerateRequest(instruction=instruction, input=input)
    answering = Answering(chat, caller, asked.model, asked.asked(), caller)
    try:
        await unless_gone(request, answering.whole())
    except HungUp:
        return Response(status_code=HUNG_UP)
    except Exception as error:
        if (known := api_error(error)) is None:
            raise
        return _form(request, caller, instruction, input, message=known.message, status=known.status)
    return RedirectResponse(f"/ask/{answering.head.id}", 303)


@router.get("/{answer_id}")
async def show_answer(request: Request, caller: Who, runs: OpenRuns, answer_id: str) -> Response:
    """Show an answer that the caller was given, and what the caller said of it.

    Raises:
        UnknownAnswer: the caller was given no such answer, or its text was withdrawn.
    """
    answer = await _own_answer(runs, answer_id, caller)
    said = await runs.services.feedback.given(feedback_id(answer_id, caller))
    return render(request, "answer.html", caller, context={"answer": answer, "said": said})


@router.post("/{answer_id}")
async def rate(
    caller: Who,
    runs: OpenRuns,
    answer_id: str,
    stars: Annotated[Literal["", "1", "2", "3", "4", "5"], Form()] = "",
    comment: Text = "",
    corrected: Text = "",
) -> Response:
    """Keep what the caller says of an answer; said anew it takes the place of what was said before.

    Raises:
        UnknownAnswer: the caller was given no such answer, or its text was withdrawn.
        BadInput: nothing is said.
    """
    answer = await _own_answer(runs, answer_id, caller)
    better = _typed(corrected)
    await give_feedback(
        runs.services,
        answer_id,
        caller,
        stars=int(stars) if stars else None,
        comment=_typed(comment),
        # The field begins with the answer: as it was, nothing is said by it.
        corrected="" if better == answer.text.strip() else better,
    )
    return RedirectResponse(f"/ask/{answer_id}", 303)


async def _own_answer(runs: Runs, answer_id: str, caller: str) -> ServedAnswer:
    answer = (await runs.services.feedback.answers([answer_id])).get(answer_id)
    if answer is None or answer.withdrawn or answer.user != caller:
        raise UnknownAnswer(f"no answer {answer_id!r} was given to you here, or its text was withdrawn")
    return answer


def _typed(text: str) -> str:
    return text.replace("\r\n", "\n").strip()


def _form(
    request: Request, caller: str, instruction: str = "", input: str = "", *, message: str = "", status: int = 200
) -> Response:
    context = {"instruction": instruction, "input": input, "message": message}
    return render(request, "ask.html", caller, status=status, context=context)
