"""Pretrained generators beside the laws that all generators keep: what learns, what is shared, what is refused."""

from typing import Any

import pytest
import torch
import transformers
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from transformers import BloomConfig, BloomForCausalLM

from chatbot.decoding import Decoding, Lanes, write_replies
from chatbot.errors import LanguageModelError
from chatbot.generator import pretrained_causal
from chatbot.generator.language_model import LanguageModel, LanguageModelConfig, json_ready
from chatbot.generator.pretrained import Adapters, PretrainedGenerator
from chatbot.generator.pretrained_branches import PretrainedBranches
from chatbot.generator.prompt import plain_layout
from chatbot.generator.understanding import check_understood, computed_in_32_bits
from chatbot.tokenizer import PAD, START, TURN
from tests.chatbot.pretrained import CHAT, MAKES, Make, language_model, pretrained
from tests.chatbot.tiny import CONTEXT_TOKENS, REPLY_TOKENS, VOCABULARY, padded

CONTEXTS = [[15, 16, 17, TURN, 18, TURN], [19, TURN], [14, 15, 16, 17, 18, 19, 20, TURN, 21, 22, TURN]]
REPLIES = [[20, 21, 22, 23, 24, TURN], [25, 26, TURN], [27, 28, 29, 30, TURN]]


def loss(model: PretrainedGenerator) -> Tensor:
    reply = padded(REPLIES)
    logits = model.score(model.encode(padded(CONTEXTS)), reply)
    return -logits.log_softmax(-1).gather(2, reply[..., None])[reply != PAD].mean()


def narrowed(make: Make) -> PretrainedGenerator:
    """Return a generator whose frozen weights are kept in 16 bits."""
    found = language_model(make)
    tree = found.config.to_tree() | {"weights": "bfloat16"}
    narrow = LanguageModel.build(LanguageModelConfig.from_tree(tree), dict(found.network.state_dict()), "here", "cpu")
    return PretrainedGenerator(narrow, Adapters(4, 8), CONTEXT_TOKENS, REPLY_TOKENS).eval()


@pytest.mark.parametrize("make", MAKES)
@pytest.mark.parametrize("adapters", [Adapters(4, 8), None])
def test_our_way_of_reading_gives_the_librarys_own_logits(make: Make, adapters: Adapters | None) -> None:
    check_understood(pretrained(make, adapters), softly=True)


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        ("Gemma2", {"final_logit_softcapping": 2.0, "head_dim": 8}),
        ("Granite", {"logits_scaling": 4.0}),
        ("Cohere", {"logit_scale": 0.25}),
    ],
)
def test_logits_are_scaled_as_the_library_scales_them(kind: str, more: dict[str, Any]) -> None:
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
    shared = {"vocab_size": 37, "eos_token_id": 1, "bos_token_id": 0, "pad_token_id": 1, "initializer_range": 0.3}
    settings = getattr(transformers, f"{kind}Config")(**sizes, **shared, **more, num_key_value_heads=2)
    made = getattr(transformers, f"{kind}ForCausalLM")(settings)
    library = {k: 0.0 if "drop" in k else v for k, v in json_ready(made.config).items()}
    config = LanguageModelConfig("causal", library, "float32", 37, (1,), 1, (), plain_layout((), 1))
    found = LanguageModel.build(config, dict(made.state_dict()), "here", "cpu")
    check_understood(PretrainedGenerator(found, None, CONTEXT_TOKENS, REPLY_TOKENS), softly=True)


@pytest.mark.parametrize("weights", ["float32", "bfloat16"])
def test_a_model_whose_positions_are_not_understood_is_refused(weights: str) -> None:
    torch.manual_seed(0)  # BLOOM has no positions but distances in its mask (ALiBi)
    made = BloomForCausalLM(BloomConfig(vocab_size=37, hidden_size=32, n_layer=2, n_head=4, initializer_range=0.3))
    library = {k: 0.0 if "drop" in k else v for k, v in json_ready(made.config).items()}
    config = LanguageModelConfig("causal", library, weights, 37, (1,), 1, (), plain_layout((), 1))
    language_model = LanguageModel.build(config, dict(made.state_dict()), "here", "cpu")
    with pytest.raises(LanguageModelError, match="type 'bloom' is not understood"):
        check_understood(PretrainedGenerator(language_model, None, CONTEXT_TOKENS, REPLY_TOKENS))


@pytest.mark.parametrize("make", MAKES)
def test_with_adapters_nothing_but_the_adapters_learns(make: Make) -> None:
    model = pretrained(make, stirred=False).train()
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=0.1, fused=True)
    first = loss(model)
    for _ in range(3):
        optimizer.zero_grad()
        loss(model).backward()
        optimizer.step()
    assert loss(model) < first - 0.1
    changed = {name for name, p in model.named_parameters() if not torch.equal(p, before[name])}
    assert changed == {name for name in before if "lora_" in name}
    assert set(model.state_dict()) == changed


def test_without_adapters_all_weights_learn_and_the_language_model_stays() -> None:
    model = pretrained("llama", None).train()
    frozen = {name: p.clone() for name, p in model.language_model.network.named_parameters()}
    loss(model).backward()
    torch.optim.SGD(model.parameters(), lr=0.1).step()
    assert all(torch.equal(p, frozen[name]) for name, p in model.language_model.network.named_parameters())
    assert all(p.grad is not None for p in model.parameters())
    assert not torch.equal(model.trunk.network.lm_head.weight, frozen["lm_head.weight"])


def test_fresh_adapters_say_what_the_language_model_says() -> None:
    torch.testing.assert_close(loss(pretrained("llama", stirred=False)), loss(pretrained("llama", None)))
    assert (loss(pretrained("llama")) - loss(pretrained("llama", None))).abs() > 1e-3


def test_a_twin_shares_the_frozen_weights_and_learns_apart() -> None:
    model = pretrained("llama")
    twin = model.twin().eval()
    torch.testing.assert_close(loss(twin), loss(model))
    shared = {p.data_ptr() for p in model.parameters()} & {p.data_ptr() for p in twin.parameters()}
    assert shared == {p.data_ptr() for p in model.language_model.network.parameters()}
    with torch.no_grad():
        for name, parameter in twin.named_parameters():
            if "lora_" in name:
                parameter.zero_()
    assert (loss(twin) - loss(model)).abs() > 1e-3


@pytest.mark.parametrize("make", ["llama", "bart"])
def test_recomputing_layers_changes_neither_loss_nor_gradient(make: Make) -> None:
    kept, recomputed = pretrained(make).train(), pretrained(make).train()
    recomputed.trunk.let_recompute()
    calls = []
    layer = (
        recomputed.trunk.network.base_model.layers[0]
        if make == "llama"
        else recomputed.trunk.network.get_decoder().layers[0]
    )
    layer.register_forward_hook(lambda *_: calls.append(torch.is_grad_enabled()))
    for model in (kept, recomputed):
        loss(model).backward()
    torch.testing.assert_close(loss(recomputed), loss(kept))
    for (name, one), (_, other) in zip(kept.named_parameters(), recomputed.named_parameters(), strict=True):
        if one.grad is not None:
            torch.testing.assert_close(other.grad, one.grad, msg=lambda text, name=name: f"{name}: {text}")
    recomputed.eval()
    with torch.no_grad():  # sampling has its cache all the same
        lanes = Lanes([Decoding()] * 3, torch.arange(3), REPLY_TOKENS)
        assert write_replies(recomputed, recomputed.encode(padded(CONTEXTS)), lanes).tokens.shape[0] == 3


@pytest.mark.parametrize("make", ["llama", "gpt2"])
def test_prompts_of_all_lengths_are_read_apart_and_give_the_same(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(3)
    lengths = [2, 60, 3, 31, 5, 59, 2, 14, 33, 7, 2, 4]
    contexts = padded([[*torch.randint(10, VOCABULARY, (n - 1,)).tolist(), TURN] for n in lengths])
    reply = padded([REPLIES[i % 3] for i in range(len(lengths))])
    read = []
    for worth in (10**9, 0):  # all together; apart wherever it saves anything
        monkeypatch.setattr(pretrained_causal, "_WORTH_READING_APART", worth)
        for training in (False, True):
            model = pretrained(make, context_tokens=64).train(training)
            widths: list[int] = []
            model.trunk.network.get_input_embeddings().register_forward_hook(
                lambda _module, given, _made, widths=widths: widths.append(given[0].shape[1])
            )
            logits = model.score(model.encode(contexts), reply)
            logits.log_softmax(-1)[..., TURN].sum().backward()  # type: ignore[no-untyped-call]
            gradient = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
            read.append((len(widths) - 1, logits.detach(), gradient))
            if worth == 0 and not training:  # sums do not depend on who is read beside
                assert all(width % pretrained_causal.PROMPT_STEP == 0 for width in widths[:-1])
    assert [calls for calls, *_ in read[:2]] == [1, 1]
    assert all(calls > 1 for calls, *_ in read[2:])
    for _, logits, gradient in read[1:]:
        torch.testing.assert_close(logits, read[0][1], rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(gradient, read[0][2], rtol=1e-3, atol=1e-4)


@given(lengths=st.lists(st.integers(0, 300), min_size=1, max_size=70), more=st.integers(0, 40))
def test_every_prompt_is_in_one_group_that_is_wide_enough(lengths: list[int], more: int) -> None:
    most = max(1, *lengths) + more
    groups = pretrained_causal._alike(lengths, most)
    assert sorted(row for rows, _ in groups for row in rows) == list(range(len(lengths)))
    for rows, width in groups:
        assert max(lengths[row] for row in rows) <= width <= most
        assert width == most or width % pretrained_causal.PROMPT_STEP == 0
    padding = sum(width - lengths[row] for rows, width in groups for row in rows)
    apart = pretrained_causal._WORTH_READING_APART + pretrained_causal.PROMPT_STEP * len(lengths)
    assert padding <= sum(lengths) + len(groups) * apart


@torch.no_grad()
def test_special_tokens_are_never_written_and_the_end_is_the_language_models_own() -> None:
    layout = CHAT
    model = pretrained("llama", layout=layout)
    reply = padded(REPLIES)
    logits = model.score(model.encode(padded(CONTEXTS)), reply)
    odds = logits.log_softmax(-1)
    assert float(odds[..., [PAD, START, layout.end + 3]].max()) < -1000
    library = model.trunk.network(input_ids=torch.tensor([layout.prompt([[12, 13, 14], [15]])])).logits[
        0, -1
    ]  # the first context with its first turn said by the model
    torch.testing.assert_close(logits[0, 0, TURN], library[layout.end], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(logits[0, 0, 13:], library[10:], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("make", MAKES)
@torch.no_grad()
def test_branches_go_on_from_any_prefix_as_if_they_had_read_it_alone(make: Make) -> None:
    model = pretrained(make)
    reply = torch.randint(3, VOCABULARY, (3, 6), generator=torch.Generator().manual_seed(1))
    begun = torch.cat((torch.full((3, 1), START), reply[:, :-1]), 1)
    owner, known = torch.tensor([0, 2, 2, 1]), torch.tensor([1, 3, 5, 2])
    state = model.encode(padded(CONTEXTS))
    hidden, branches = PretrainedBranches.begin(model.trunk, state, begun, owner, known + 1)
    whole = model.score(model.encode(padded(CONTEXTS)), reply)
    torch.testing.assert_close(model.project(hidden), whole, rtol=1e-4, atol=1e-4)
    kept = torch.tensor([3, 1])
    branches = branches.select(kept)
    found = model.project(branches.read(torch.tensor([30, 31])))
    for row, branch in enumerate(kept.tolist()):
        n = int(known[branch])
        changed = torch.cat((reply[owner[branch], :n], torch.tensor([30 + row, 3])))[None]
        alone = model.score(model.encode(padded([CONTEXTS[int(owner[branch])]])), changed)
        torch.testing.assert_close(found[row], alone[0, n + 1], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("make", MAKES)
@torch.no_grad()
def test_a_distribution_is_read_as_its_expected_embedding(make: Make) -> None:
    model = pretrained(make)
    one, other = (torch.nn.functional.one_hot(torch.tensor([i]), VOCABULARY).float() for i in (20, TURN))
    mixed = model.trunk.embed_soft(0.25 * one + 0.75 * other)
    apart = [model.trunk.embed(torch.tensor([i])) for i in (20, TURN)]
    torch.testing.assert_close(mixed, 0.25 * apart[0] + 0.75 * apart[1])


@pytest.mark.parametrize("make", MAKES)
def test_distributions_written_into_a_lane_have_a_gradient_in_what_comes_later(make: Make) -> None:
    model = pretrained(make).eval()
    soft = torch.softmax(torch.randn(4, 3, VOCABULARY, generator=torch.Generator().manual_seed(0)), -1)
    soft.requires_grad_()
    logits, state = model.step(model.encode(padded(CONTEXTS)), torch.full((3,), START))
    for vector in soft:
        logits, state = model.step_soft(state, vector)
    (gradient,) = torch.autograd.grad(logits[:, 20].sum(), soft)
    assert bool((gradient.flatten(2).norm(dim=2) > 1e-4).all())
    step = 1e-3 * gradient / gradient.norm()
    with torch.no_grad():
        found = []
        for moved in (soft + step, soft - step):
            now, state = model.step(model.encode(padded(CONTEXTS)), torch.full((3,), START))
            for vector in moved:
                now, state = model.step_soft(state, vector)
            found.append(float(now[:, 20].sum()))
    assert (found[0] - found[1]) / 2e-3 == pytest.approx(float(gradient.norm()), rel=0.05)


def test_weights_in_16_bits_stay_so_and_adapters_do_not() -> None:
    model = narrowed("llama")
    places = [p.data_ptr() for p in model.parameters()]
    check_understood(model)
    assert [p.data_ptr() for p in model.parameters()] == places
    kinds = {("lora_" in name, p.dtype) for name, p in model.named_parameters()}
    assert kinds == {(True, torch.float32), (False, torch.bfloat16)}
    value = loss(model.train())
    value.backward()
    assert (value - loss(pretrained("llama", stirred=False))).abs() < 0.1 * value


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(LanguageModelError, match=r"contexts of 250 and replies of 10 tokens do not fit .* reads 256"):
        pretrained("llama", context_tokens=250)
    with pytest.raises(LanguageModelError, match=r"generator.lora.targets=\['q_projection'\]"):
        pretrained("llama", Adapters(targets=("q_projection",)))
    some = pretrained("llama", Adapters(4, 8, ("q_proj", "v_proj")))
    assert {name.split(".")[-4] for name in some.state_dict()} == {"q_proj", "v_proj"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"kind": "diffusion"}, "kind is 'diffusion', expected one of causal, encoder-decoder"),
        ({"weights": "int4"}, "weights is 'int4'"),
        ({"tokens": "many"}, "tokens is 'many'"),
        ({"library": {}}, "names no model_type"),
        ({"layout": {"end": 1}}, "not the description"),
        ({"more": 1}, "not the description"),
    ],
)
def test_a_description_that_is_none_says_why(change: dict[str, object], said: str) -> None:
    tree = language_model().config.to_tree()
    assert LanguageModelConfig.from_tree(tree).to_tree() == tree
    with pytest.raises(LanguageModelError, match=said):
        LanguageModelConfig.from_tree(tree | change)


def test_a_description_of_an_unknown_model_is_refused_and_runs_nothing() -> None:
    found = language_model()
    tree = found.config.to_tree()
    tree["library"] = {"model_type": "of_our_own", "auto_map": {"AutoModelForCausalLM": "evil.Model"}}
    with pytest.raises(LanguageModelError, match="'of_our_own' is no model that transformers knows"):
        LanguageModel.build(LanguageModelConfig.from_tree(tree), {}, "here", "cpu")


def test_a_context_encoded_to_learn_from_whole_replies_can_be_stepped_from_too() -> None:
    model = pretrained("t5", None).train()
    context, start = padded([[5, 6, TURN]]), torch.tensor([START])
    learnt, _ = model.step(model.encode(context), start)
    plain, _ = model.eval().step(model.encode(context), start)
    torch.testing.assert_close(learnt, plain, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("make", MAKES)
@torch.no_grad()
def test_weights_in_16_bits_are_held_to_the_library_in_32(make: Make) -> None:
    model = narrowed(make)
    check_understood(model, softly=True)
    if make == "t5":
        return  # looks at its layers' weights from outside and rounds to what it finds there
    reply, context = padded(REPLIES), padded(CONTEXTS)
    with computed_in_32_bits(model):
        wide = model.score(model.encode(context), reply)
    twin = pretrained(make, stirred=False)
    for parameter, narrow in zip(twin.parameters(), model.parameters(), strict=True):
        parameter.copy_(narrow)
    torch.testing.assert_close(wide, twin.score(twin.encode(context), reply), rtol=1e-4, atol=1e-4)
    assert not torch.allclose(model.score(model.encode(context), reply).float(), wide, rtol=1e-4, atol=1e-3)


def test_weights_come_back_to_16_bits_after_a_failure() -> None:
    model = narrowed("llama")
    with pytest.raises(IndexError), computed_in_32_bits(model):
        model.encode(torch.full((1, 2), VOCABULARY + 5))
    assert {p.dtype for name, p in model.named_parameters() if "lora_" not in name} == {torch.bfloat16}
