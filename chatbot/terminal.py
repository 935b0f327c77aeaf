"""Talking to a bundle in the terminal: one line in, the reply as it is written. Knows lines, not models."""

from collections.abc import Callable, Iterable
from dataclasses import replace

from chatbot.bot import Bot
from chatbot.cleaning import clean_turn
from chatbot.errors import RejoinderError
from chatbot.messages import Delta, Ended, Failed
from chatbot.request import SEED_LIMIT, ReplyRequest

RESET = "/reset"


def converse(bot: Bot, lines: Iterable[str], write: Callable[[str], None], template: ReplyRequest) -> int:
    """Answer each of `lines`, the history in mind, until there are no more; return how many were answered.

    Reply i is drawn with the template's seed + i. An empty line says nothing; RESET begins anew. An interrupt while a
    reply is written ends that reply alone. Raises RequestError when the template cannot be met.
    """
    history: list[str] = []
    answered = 0
    for line in lines:
        if line.strip() == RESET:
            history.clear()
            write("(begun anew)\n")
            continue
        if not clean_turn(line):
            continue
        if len(history) % 2:  # the last reply was empty, or cut before its first word: one speaker goes on
            history[-1] = f"{history[-1]}\n{line}"
        else:
            history.append(line)
        seed = (template.seed + answered) % SEED_LIMIT
        reply = _answer(bot, replace(template, turns=tuple(history), seed=seed), write)
        if clean_turn(reply):
            history.append(reply)
        answered += 1
    return answered


def _answer(bot: Bot, request: ReplyRequest, write: Callable[[str], None]) -> str:
    told = ""
    bot.begin(0, request, stream=True)
    try:
        while True:
            for event in bot.step():
                if isinstance(event, Failed):
                    raise RejoinderError(f"the model failed at this message ({event.message})")
                if isinstance(event, Delta):
                    told += event.text
                    write(event.text)
                elif isinstance(event, Ended):
                    text = event.answer.replies[0].text
                    write(f"{text.removeprefix(told)}\n")
                    return text
    except KeyboardInterrupt:
        write(" (interrupted)\n")
        return told
    finally:
        bot.cancel(0)
