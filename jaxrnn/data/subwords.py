"""Pieces of words, which stand in for a word that is not in the vocabulary: its beginning, then what follows.

`unwatchable` may become `un`, `⁀watch`, `⁀able`: the mark stands before what continues a word. A beginning may also be
a word of the vocabulary, with the vector that it has. Cutting takes the longest piece that fits, from left to right
(the "greedy longest match" of Wu et al. 2016, arXiv:1609.08144).
"""

from collections import Counter
from collections.abc import Container, Mapping

CONTINUES = "⁀"  # U+2040, the character tie
LONGEST = 6  # characters of a piece, as in Bojanowski et al. 2017 (arXiv:1607.04606)


def choose_pieces(counts: Mapping[str, int], known: Container[str], *, max_size: int) -> list[str]:
    """The beginnings and continuations that make up most characters of the unknown words.

    Args:
        counts: How often each word occurs in the training texts.
        known: Words of the vocabulary, which need no pieces and are none.
        max_size: The most pieces to choose; among those that make up as many characters the alphabet decides.
    """
    characters: Counter[str] = Counter()
    for word, count in counts.items():
        if word in known:
            continue
        for start in range(len(word)):
            mark = CONTINUES if start else ""
            for end in range(start + 1, min(start + LONGEST, len(word)) + 1):
                characters[mark + word[start:end]] += count * (end - start)
    pieces = (piece for piece in characters if piece not in known)
    return sorted(pieces, key=lambda piece: (-characters[piece], piece))[:max_size]


def cut(word: str, pieces: Container[str]) -> list[str] | None:
    """The pieces of a word, or None if there are none for some of it."""
    found, start = [], 0
    while start < len(word):
        mark, longest = (CONTINUES, LONGEST) if start else ("", len(word))
        ends = range(min(start + longest, len(word)), start, -1)
        end = next((end for end in ends if mark + word[start:end] in pieces), None)
        if end is None:
            return None
        found.append(mark + word[start:end])
        start = end
    return found
