"""Stock replies as ids: which turns are one, and which of them a model gives."""

import math

import torch

from chatbot.tokenizer import TURN, Tokenizer
from tests.training.toys import batch_of, generator, padded
from training.stock import dullness_of, likeliest_stock


def test_turns_are_dull_by_their_text_and_silence_is_dull() -> None:
    tokenizer = Tokenizer.train(["I don't know what to say. 不知道"], 300)
    texts = ["I don't know.", "I KNOW who moved the cheese", "不知道。", "", " "]
    turns = padded([[*tokenizer.encode(text), TURN] for text in texts])
    assert dullness_of(tokenizer)(turns).tolist() == [True, False, True, True, True]


def test_the_stock_replies_that_a_model_gives_most_are_found_and_fit_its_limit() -> None:
    tokenizer = Tokenizer.train(["I don't know what to say."], 300)
    model = generator(vocabulary=tokenizer.vocabulary_size, reply_tokens=4)
    with torch.no_grad():  # the same for every token, but "n" and "o" are likelier: "no" it is, and short ones follow
        model.trunk.embedding.weight.zero_()
        model.bias.zero_()
        model.bias[tokenizer.encode("n") + tokenizer.encode("o")] = math.log(20)
    found = likeliest_stock(model, batch_of([([5], [6]), ([7], [8])]).context, tokenizer, 3)
    assert tokenizer.decode(found[0].tolist()) == "no"
    assert all(int(ids[-1]) == TURN and len(ids) <= 4 for ids in found)
    assert len(found) == 3
