"""Greedy decoding that can say nothing but one of some given sequences."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch

from modelzoo_mediswift.model.generate import Prefix
from modelzoo_mediswift.model.gpt3 import GPT3

Trie = dict[int, Any]
"""Token -> what may follow it; empty after a sequence's last token."""


def make_trie(sequences: Iterable[Sequence[int]]) -> Trie:
    """Raises ValueError if there is no sequence."""
    root: Trie = {}
    for sequence in sequences:
        node = root
        for token in sequence:
            node = node.setdefault(token, {})
    if not root:
        raise ValueError("expected at least one sequence")
    return root


def holds(trie: Trie, sequence: Iterable[int]) -> bool:
    """Whether `sequence` is one of the trie's, from beginning to end."""
    node = trie
    for token in sequence:
        if token not in node:
            return False
        node = node[token]
    return not node


@torch.no_grad()
def greedy_within(model: GPT3, prefix: Prefix, trie: Trie) -> list[list[int]]:
    """For each row the sequence that takes the most likely allowed token again and again.

    No sequence of the trie may be the beginning of another: all end with end-of-text.
    """
    device = prefix.lengths.device
    rows: list[list[int]] = [[] for _ in prefix.lengths]
    nodes = [trie for _ in rows]
    while any(nodes):
        allowed = torch.full_like(prefix.logits, -torch.inf)
        for row, node in enumerate(nodes):
            allowed[row, list(node or [0])] = 0.0  # a row that is finished reads anything
        tokens = (prefix.logits + allowed).argmax(-1)  # (B,)
        for row, token in enumerate(tokens.tolist()):
            if nodes[row]:
                rows[row].append(token)
                nodes[row] = nodes[row][token]
        # What can only go on in one way is read in the same pass.
        read = [tokens]
        while all(len(node) == 1 for node in nodes):
            forced = [next(iter(node)) for node in nodes]
            nodes = [node[token] for node, token in zip(nodes, forced, strict=True)]
            for written, token in zip(rows, forced, strict=True):
                written.append(token)
            read.append(torch.tensor(forced, device=device))
        if any(nodes):
            prefix = prefix.extended(model, torch.stack(read, 1))
    return rows
