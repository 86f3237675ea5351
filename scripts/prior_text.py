"""The prior's tokenizer and text encoder, of CLIP's kind but small: every word of the world is one token.

Other words are spelled in pieces of those words and single bytes, so that whatever is typed has tokens.
"""

import math
from collections import Counter
from itertools import pairwise

import torch
from tokenizers import pre_tokenizers
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from nerf3d.data.world.captions import COMPASS, HEIGHTS, vocabulary

MAX_LENGTH = 32
START, END = "<|startoftext|>", "<|endoftext|>"
WORD_END = "</w>"
VIEW_RADIUS = 0.8
"""About the length of other words' vectors when they have been learned."""


def make_tokenizer() -> CLIPTokenizer:
    """Byte-pair encoding learned from the world's own words until each of them is whole."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = learn_merges(sorted(set(" ".join(vocabulary()).split())))
    pieces = [*alphabet, *(f"{byte}{WORD_END}" for byte in alphabet), *(first + second for first, second in merges)]
    ids = {piece: i for i, piece in enumerate(dict.fromkeys([*pieces, START, END]))}
    return CLIPTokenizer(vocab=ids, merges=merges, model_max_length=MAX_LENGTH)


def learn_merges(words: list[str]) -> list[tuple[str, str]]:
    """Join the most frequent pair of neighbouring pieces, the first in the alphabet of equals, until no pair is left.

    (Sennrich et al. 2016. The tokenizers library's own trainer breaks ties differently from one run to the next.)

    >>> learn_merges(["to", "top"])
    [('o', 'p</w>'), ('t', 'o</w>'), ('t', 'op</w>')]
    """
    spelled = [[*word[:-1], word[-1] + WORD_END] for word in words]
    merges: list[tuple[str, str]] = []
    while pairs := Counter(pair for pieces in spelled for pair in pairwise(pieces)):
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        spelled = [_joined(pieces, best) for pieces in spelled]
    return merges


def _joined(pieces: list[str], pair: tuple[str, str]) -> list[str]:
    result: list[str] = []
    for piece in pieces:
        if result and (result[-1], piece) == pair:
            result[-1] += piece
        else:
            result.append(piece)
    return result


def make_text_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    encoder = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=192,
            intermediate_size=512,
            num_hidden_layers=4,
            num_attention_heads=6,
            max_position_embeddings=MAX_LENGTH,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
            projection_dim=192,
        )
    )
    arrange_views(encoder, tokenizer)
    return encoder


@torch.no_grad()
def arrange_views(encoder: CLIPTextModel, tokenizer: CLIPTokenizer) -> None:
    """Let the words for where the camera stands begin as neighbours: the compass on a circle (and, opposite points alike,
    twice around another), heights on a curve. Sixteen unrelated words, each of which means something else for each noun,
    were not learned at all in the time in which nouns were.
    """
    width = encoder.config.hidden_size
    axes = torch.linalg.qr(torch.randn(width, 6, generator=torch.Generator().manual_seed(0))).Q.T
    angle = torch.arange(len(COMPASS)) * (2 * math.pi / len(COMPASS))
    around = torch.stack([angle.cos(), angle.sin(), 0.5 * (2 * angle).cos(), 0.5 * (2 * angle).sin()], 1) @ axes[:4]
    height = torch.linspace(-1, 1, len(HEIGHTS))
    upward = torch.stack([height, height.square() - height.square().mean()], 1) @ axes[4:]
    for words, places in ((COMPASS, around), (HEIGHTS, upward)):
        rows = [tokenizer(word).input_ids[1] for word in words]
        encoder.get_input_embeddings().weight[rows] = VIEW_RADIUS * places
