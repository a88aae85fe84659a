"""Sentence templates with choices and slots: "[the rate|the risk] of {event}"."""

import random
import re
from collections.abc import Mapping
from functools import lru_cache

Node = str | tuple[str, object]
_TOKEN = re.compile(r"[\[\]|]|\{\w+\}|[^\[\]|{}]+")
_AN = re.compile(r"\b([Aa]) (?=[aeiouAEIOU]|HR\b|RR\b|8|11|18|MRI\b|rs)")
_NOT_AN = re.compile(r"\b([Aa])n (?=uni|use|usu|eu|Eu|one)")


@lru_cache(maxsize=4096)
def _parse(template: str) -> tuple[Node, ...]:
    """Turn a template into literal text, ("slot", name) and ("choice", branches) nodes."""
    stack: list[list[list[Node]]] = [[[]]]
    for token in _TOKEN.findall(template):
        if token == "[":
            stack.append([[]])
        elif token == "|" and len(stack) > 1:
            stack[-1].append([])
        elif token == "]":
            branches = stack.pop()
            stack[-1][-1].append(("choice", tuple(tuple(branch) for branch in branches)))
        elif token.startswith("{"):
            stack[-1][-1].append(("slot", token[1:-1]))
        else:
            stack[-1][-1].append(token)
    assert len(stack) == 1, f"unbalanced brackets in template {template!r}"
    return tuple(stack[0][0])


def _realise(nodes: tuple[Node, ...], slots: Mapping[str, str], rng: random.Random) -> str:
    parts = []
    for node in nodes:
        if isinstance(node, str):
            parts.append(node)
        elif node[0] == "slot":
            parts.append(slots[str(node[1])])
        else:
            branches: tuple[tuple[Node, ...], ...] = node[1]  # type: ignore[assignment]
            parts.append(_realise(rng.choice(branches), slots, rng))
    return "".join(parts)


def capitalise(text: str) -> str:
    """Upper-case the first letter unless the first word is a symbol such as miR-9304."""
    first = text.split(" ", 1)[0]
    return text if any(c.isupper() for c in first) else text[:1].upper() + text[1:]


def expand(template: str, slots: Mapping[str, str], rng: random.Random) -> str:
    """Realise one template: fill slots, draw choices, mend spaces and a/an."""
    text = " ".join(_realise(_parse(template), slots, rng).split())
    text = text.replace(" ,", ",").replace(" .", ".").replace(" ;", ";").replace("( ", "(")
    text = _NOT_AN.sub(r"\1 ", _AN.sub(r"\1n ", text))
    first, *others = text.split(". ")
    return ". ".join([first, *(capitalise(other) for other in others)])


def sentence(templates: tuple[str, ...], slots: Mapping[str, str], rng: random.Random) -> str:
    """Draw one of several templates and realise it as a capitalised sentence."""
    return capitalise(expand(rng.choice(templates), slots, rng))
