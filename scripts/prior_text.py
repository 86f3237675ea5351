"""The prior's tokenizer and text encoder, of CLIP's kind but small: every word of the world is one token.

Other words are spelled in pieces of those words and single bytes, so that whatever is typed has tokens.
"""

from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from nerf3d.data.world.captions import vocabulary

MAX_LENGTH = 32
START, END = "<|startoftext|>", "<|endoftext|>"


def make_tokenizer() -> CLIPTokenizer:
    """Byte-pair encoding trained on the world's own words until each of them is whole."""
    import json

    words = sorted(set(" ".join(vocabulary()).split()))
    tokenizer = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=100_000, min_frequency=1, initial_alphabet=alphabet, end_of_word_suffix="</w>", show_progress=False
    )
    tokenizer.train_from_iterator(words, trainer)
    learned = json.loads(tokenizer.to_str())["model"]
    merges = [" ".join(pair) if isinstance(pair, list) else pair for pair in learned["merges"]]
    pieces = [*alphabet, *(f"{byte}</w>" for byte in alphabet), *("".join(pair.split()) for pair in merges)]
    vocabulary_ids = {piece: i for i, piece in enumerate(dict.fromkeys([*pieces, START, END]))}
    merged = [tuple(pair.split()) for pair in merges]
    return CLIPTokenizer(vocab=vocabulary_ids, merges=merged, model_max_length=MAX_LENGTH)


def make_text_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    return CLIPTextModel(
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
