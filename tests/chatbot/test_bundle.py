import hashlib
import json
import math
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from chatbot.bundle import (
    FORMAT,
    Bundle,
    Limits,
    bundle_digest,
    finish_interrupted_save,
    load_bundle,
    read_config,
    save_bundle,
)
from chatbot.bundle_config import prefer_decoding
from chatbot.errors import BundleError, RejoinderError
from chatbot.generator.trunk import Architecture
from chatbot.request import Decoding
from chatbot.tokenizer import Tokenizer
from tests.chatbot.tiny import CONTEXT_TOKENS, REPLY_TOKENS, bundle

FILES = ["config.json", "discriminator.safetensors", "generator.safetensors", "tokenizer.json"]
WHOLE = [*FILES, "README.md"]


@pytest.fixture
def made(tmp_path: Path, tokenizer: Tokenizer) -> Path:
    """Return the directory of a bundle just saved."""
    directory = tmp_path / "bot"
    save_bundle(bundle("recurrent", tokenizer), directory)
    return directory


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory, tokenizer: Tokenizer) -> Path:
    """Return the directory of a bundle that no test changes."""
    directory = tmp_path_factory.mktemp("original") / "bot"
    save_bundle(bundle("recurrent", tokenizer), directory)
    return directory


def change_config(directory: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = directory / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    config.pop("sha256", None)  # as in bundles written before there was one: what is wrong must be found out otherwise
    change(config)
    path.write_text(json.dumps(config), encoding="utf-8")


def sign(directory: Path) -> None:
    """Write the sums of the files as they are into config.json, so that what is wrong with them must be found out."""

    def change(config: dict[str, Any]) -> None:
        for name in config["files"]:
            config["files"][name] = hashlib.sha256((directory / name).read_bytes()).hexdigest()

    change_config(directory, change)


def snapshot(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


# How replies are drawn


def test_a_bundle_says_how_it_is_drawn_and_is_the_same_checkpoint(made: Path, tokenizer: Tokenizer) -> None:
    plain, before, asked = bundle_digest(made), snapshot(made), Decoding(temperature=0.5, top_p=0.6)
    assert load_bundle(made).decoding == Decoding()
    prefer_decoding(made, asked)
    assert load_bundle(made).decoding == asked
    assert read_config(made)["decoding"] == {"temperature": 0.5, "top_p": 0.6}
    assert bundle_digest(made) == plain
    save_bundle(load_bundle(made), made)  # as an export does
    assert load_bundle(made).decoding == asked
    prefer_decoding(made, Decoding())
    assert snapshot(made) == before


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ([0.7], "decoding: found [0.7], expected an object"),
        ({"top_q": 1}, "not expected ['top_q']"),
        ({"top_p": "0.6"}, "decoding: top_p is '0.6', expected a number"),
        ({"top_p": True}, "decoding: top_p is True, expected a number"),
        ({"temperature": 3}, "decoding: temperature is 3, expected 0 to 2"),
        ({"temperature": math.nan}, "decoding: temperature is nan, expected 0 to 2"),
    ],
)
def test_a_decoding_that_is_none_is_named(made: Path, value: object, said: str) -> None:
    change_config(made, lambda config: config.update(decoding=value))
    with pytest.raises(BundleError) as error:
        load_bundle(made)
    assert said in str(error.value)


def test_an_altered_config_is_not_signed_by_a_new_preference(made: Path) -> None:
    path = made / "config.json"
    path.write_text(path.read_text(encoding="utf-8").replace('"reply_tokens": ', '"reply_tokens": 1'), encoding="utf-8")
    before = snapshot(made)
    with pytest.raises(BundleError, match="was altered"):
        prefer_decoding(made, Decoding(top_p=0.5))
    assert snapshot(made) == before


# There and back


@pytest.mark.parametrize("judged", [True, False])
def test_a_bundle_comes_back_bit_for_bit(
    tmp_path: Path, architecture: Architecture, tokenizer: Tokenizer, judged: bool
) -> None:
    saved = bundle(architecture, tokenizer, judged)
    save_bundle(saved, tmp_path / "a" / "bot")
    loaded = load_bundle(tmp_path / "a" / "bot")

    assert (loaded.limits, loaded.card, loaded.info) == (saved.limits, saved.card, saved.info)
    assert loaded.tokenizer.encode("hello 你好") == tokenizer.encode("hello 你好")
    assert (loaded.discriminator is not None) == judged
    for before, after in ((saved.generator, loaded.generator), (saved.discriminator, loaded.discriminator)):
        if before is None or after is None:
            continue
        assert before.state_dict().keys() == after.state_dict().keys()
        assert all(torch.equal(value, after.state_dict()[key]) for key, value in before.state_dict().items())
        assert before.trunk.config == after.trunk.config
        assert not any(module.training for module in after.modules())
        assert all(parameter.requires_grad for parameter in after.parameters()), "training goes on from bundles"
    context, reply = torch.tensor([[5, 6, 2]]), torch.tensor([[7, 8, 9, 2]])
    with torch.no_grad():
        assert torch.equal(
            saved.generator.score(saved.generator.encode(context), reply),
            loaded.generator.score(loaded.generator.encode(context), reply),
        )


def test_a_bundle_saved_twice_gives_the_same_files(tmp_path: Path, made: Path) -> None:
    save_bundle(load_bundle(made), tmp_path / "again")

    assert snapshot(tmp_path / "again") == snapshot(made)
    assert sorted(snapshot(made)) == sorted(WHOLE)


def test_half_precision_weights_are_saved_as_float32(tmp_path: Path, tokenizer: Tokenizer) -> None:
    half = bundle("transformer", tokenizer, judged=False)
    half.generator.bfloat16()
    save_bundle(half, tmp_path / "bot")

    assert all(p.dtype == torch.float32 for p in load_bundle(tmp_path / "bot").generator.parameters())


def test_loading_draws_no_random_numbers(made: Path) -> None:
    before = torch.random.get_rng_state()
    load_bundle(made)

    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_bundle_needs_no_card(made: Path) -> None:
    (made / "README.md").unlink()

    assert load_bundle(made).card == ""


def test_a_bundle_may_be_a_symlink_and_is_replaced_behind_it(made: Path, tokenizer: Tokenizer) -> None:
    link = made.parent / "current"
    link.symlink_to(made, target_is_directory=True)
    save_bundle(bundle("transformer", tokenizer, judged=False, seed=8), link)

    assert link.is_symlink()
    assert load_bundle(made).discriminator is None
    assert sorted(p.name for p in made.parent.iterdir()) == ["bot", "current"]


# Whole or not at all


def test_an_older_bundle_is_replaced_whole(made: Path, tokenizer: Tokenizer) -> None:
    save_bundle(bundle("transformer", tokenizer, judged=False, seed=9), made)

    assert load_bundle(made).discriminator is None
    assert not (made / "discriminator.safetensors").exists()
    assert [p.name for p in made.parent.iterdir()] == ["bot"], "nothing is left over beside the bundle"


def test_a_save_that_fails_leaves_the_old_bundle(made: Path, tokenizer: Tokenizer) -> None:
    before = snapshot(made)
    new = bundle("transformer", tokenizer)
    new.info["not JSON"] = object()
    with pytest.raises(TypeError):
        save_bundle(new, made)

    assert snapshot(made) == before
    assert [p.name for p in made.parent.iterdir()] == ["bot"]


def test_a_first_save_that_fails_leaves_nothing(tmp_path: Path, tokenizer: Tokenizer) -> None:
    new = bundle("transformer", tokenizer)
    new.info["not JSON"] = object()
    with pytest.raises(TypeError):
        save_bundle(new, tmp_path / "bot")

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("older", [True, False])
def test_a_save_that_cannot_be_put_in_place_leaves_what_was_there(
    made: Path, tokenizer: Tokenizer, older: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = snapshot(made)
    target = made if older else made.with_name("other")
    rename = Path.rename

    def refused(path: Path, to: Path) -> Path:
        if to == target and not path.name.endswith(".old"):
            raise PermissionError(13, "Permission denied")
        return rename(path, to)

    monkeypatch.setattr(Path, "rename", refused)
    with pytest.raises(BundleError, match=r"cannot be written \(Permission denied\)$"):
        save_bundle(bundle("transformer", tokenizer), target)
    assert snapshot(made) == before
    assert [path.name for path in made.parent.iterdir()] == ["bot"]


def test_what_a_save_that_was_killed_left_over_is_no_hindrance(made: Path, tokenizer: Tokenizer) -> None:
    shutil.copytree(made, made.parent / ".bot.old")
    save_bundle(bundle("transformer", tokenizer, judged=False), made)

    assert load_bundle(made).discriminator is None
    assert [p.name for p in made.parent.iterdir()] == ["bot"]


def test_a_save_killed_between_its_two_renames_is_undone(made: Path) -> None:
    before = snapshot(made)
    made.rename(made.with_name(f".{made.name}.old"))
    (made.parent / f".{made.name}.abc123").mkdir()
    finish_interrupted_save(made)
    assert snapshot(made) == before
    assert [path.name for path in made.parent.iterdir() if path.name.startswith(".")] == []


def test_a_save_killed_after_its_renames_keeps_the_new_bundle(made: Path) -> None:
    before = snapshot(made)
    (made.parent / f".{made.name}.old").mkdir()
    finish_interrupted_save(made)
    assert snapshot(made) == before
    assert not (made.parent / f".{made.name}.old").exists()


def test_an_empty_directory_may_become_a_bundle(tmp_path: Path, tokenizer: Tokenizer) -> None:
    (tmp_path / "bot").mkdir()
    save_bundle(bundle("recurrent", tokenizer), tmp_path / "bot")

    load_bundle(tmp_path / "bot")


@pytest.mark.parametrize("kind", ["file", "directory"])
def test_what_is_not_a_bundle_is_never_replaced(tmp_path: Path, tokenizer: Tokenizer, kind: str) -> None:
    target = tmp_path / "precious"
    kept = target
    if kind == "directory":
        target.mkdir()
        kept = target / "config.json"
    kept.write_text("{}", encoding="utf-8")
    with pytest.raises(BundleError, match="precious"):
        save_bundle(bundle("recurrent", tokenizer), target)

    assert kept.read_text(encoding="utf-8") == "{}"
    assert list(tmp_path.iterdir()) == [target]


# What can be wrong with the directory and its files


@pytest.mark.parametrize("path", ["nothing", "a\0b", "x" * 300, "bot/config.json"])
def test_a_missing_bundle_is_named(made: Path, path: str) -> None:
    with pytest.raises(BundleError):
        load_bundle(made.parent / path)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(made: Path, name: str) -> None:
    (made / name).unlink()

    with pytest.raises(BundleError, match=name.replace(".", r"\.")):
        load_bundle(made)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_a_truncated_file_is_named(made: Path, name: str, share: float) -> None:
    content = (made / name).read_bytes()
    (made / name).write_bytes(content[: int(share * len(content))])

    with pytest.raises(BundleError, match=name.replace(".", r"\.")):
        load_bundle(made)


def test_a_link_that_leads_out_of_the_bundle_is_refused(made: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("not for the card", encoding="utf-8")
    (made / "README.md").unlink()
    (made / "README.md").symlink_to(secret)
    with pytest.raises(BundleError, match=r"README\.md: is a link that leads out of the bundle, expected a file"):
        load_bundle(made)


@pytest.mark.parametrize("name", FILES[1:])
def test_an_altered_byte_is_noticed(made: Path, name: str) -> None:
    content = bytearray((made / name).read_bytes())
    content[len(content) // 2] ^= 1
    (made / name).write_bytes(content)

    with pytest.raises(BundleError, match=rf"{name}.*sha256"):
        load_bundle(made)


@pytest.mark.parametrize("name", FILES)
def test_a_directory_in_a_files_place_is_an_error(made: Path, name: str) -> None:
    (made / name).unlink()
    (made / name).mkdir()

    with pytest.raises(BundleError, match=name.replace(".", r"\.")):
        load_bundle(made)


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"null", b"[]", b'"text"', b"\xff\xfe\x00", b"[" * 200_000, b"1" * 10_000, b'{"format": "1"}', b"{}"],
)
def test_a_config_that_is_none_is_named(made: Path, content: bytes) -> None:
    (made / "config.json").write_bytes(content)

    with pytest.raises(BundleError, match=r"config\.json"):
        load_bundle(made)


def test_a_config_that_fits_and_is_not_what_was_written(made: Path) -> None:
    path = made / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    config["limits"]["reply_tokens"] += 1
    path.write_text(json.dumps(config), encoding="utf-8")

    with pytest.raises(BundleError, match=r"config\.json: was altered"):
        load_bundle(made)


def test_a_newer_format_says_to_upgrade(made: Path) -> None:
    change_config(made, lambda config: config.update(format=FORMAT + 1, novelty={}))

    with pytest.raises(BundleError, match=rf"format {FORMAT + 1}.*upgrade"):
        load_bundle(made)
    with pytest.raises(BundleError, match="upgrade"):
        read_config(made)


@pytest.mark.parametrize("version", [0, -1, True, 1.0, "1", None, [1]])
def test_a_format_that_never_was_is_an_error(made: Path, version: object) -> None:
    change_config(made, lambda config: config.update(format=version))

    with pytest.raises(BundleError, match="format"):
        load_bundle(made)


# What can be wrong with the description


@pytest.mark.parametrize("key", ["vocabulary_size", "limits", "generator", "discriminator", "info", "files"])
@pytest.mark.parametrize("value", ["text", 2.5, [], True, None])
def test_a_part_of_the_wrong_kind_is_named(made: Path, key: str, value: object) -> None:
    change_config(made, lambda config: config.update({key: value}))

    with pytest.raises(BundleError, match="files" if value is None and key == "discriminator" else key):
        load_bundle(made)


@pytest.mark.parametrize("part", [None, "limits", "generator", "discriminator", "files"])
def test_missing_and_unknown_keys_are_named(made: Path, part: str | None) -> None:
    found = read_config(made)
    known = next(k for k in (found[part] if part else found) if k != "format")

    def change(config: dict[str, Any]) -> None:
        values = config[part] if part else config
        values["brand_new"] = values.pop(known)

    change_config(made, change)

    with pytest.raises(BundleError, match=rf"missing \['{known}'\].*not expected \['brand_new'\]"):
        load_bundle(made)


SIZES = [
    ("vocabulary_size",),
    ("limits", "context_tokens"),
    ("limits", "reply_tokens"),
    *((m, k) for m in ("generator", "discriminator") for k in ("width", "decoder_layers", "heads", "feedforward")),
    ("generator", "encoder_layers"),
]


@pytest.mark.parametrize("path", SIZES, ids=".".join)
@pytest.mark.parametrize("value", [10**9, 10**30, -1, 1.5, "16", True, None, [16], math.nan])
def test_an_impossible_size_is_named_and_takes_no_memory(original: Path, path: tuple[str, ...], value: object) -> None:
    directory = Path(shutil.copytree(original, original.parent / "copy", dirs_exist_ok=True))

    def change(config: dict[str, Any]) -> None:
        for part in path[:-1]:
            config = config[part]
        config[path[-1]] = value

    change_config(directory, change)

    with pytest.raises(BundleError, match=path[-1]):
        load_bundle(directory)


@pytest.mark.parametrize("values", [{"width": 2**20}, {"feedforward": 2**20}, {"encoder_layers": 256}, {"heads": 3}])
def test_a_size_that_could_be_but_is_not_the_weights_is_an_error(made: Path, values: dict[str, int]) -> None:
    """A width of a million would take terabytes: shapes are compared before memory is taken."""
    change_config(made, lambda config: config["generator"].update(values))

    with pytest.raises(BundleError, match=r"generator\.safetensors|does not describe"):
        load_bundle(made)


@pytest.mark.parametrize(
    ("key", "value"),
    [("architecture", "mamba"), ("architecture", []), ("dropout", -1), ("dropout", "0"), ("dropout", 2)],
)
def test_a_shape_that_is_none_is_named(made: Path, key: str, value: object) -> None:
    change_config(made, lambda config: config["generator"].update({key: value}))

    with pytest.raises(BundleError, match=key):
        load_bundle(made)


@pytest.mark.parametrize("name", ["../generator.safetensors", "/etc/passwd", "sub/generator.safetensors", "other"])
def test_the_list_of_files_leads_nowhere_else(made: Path, name: str) -> None:
    (made.parent / "generator.safetensors").write_bytes((made / "generator.safetensors").read_bytes())

    def change(config: dict[str, Any]) -> None:
        config["files"][name] = config["files"].pop("generator.safetensors")

    change_config(made, change)

    with pytest.raises(BundleError, match="not expected"):
        load_bundle(made)


def test_a_tokenizer_of_another_size_is_refused(made: Path) -> None:
    Tokenizer.train([], 400).save(made / "tokenizer.json")
    sign(made)

    with pytest.raises(BundleError, match="tokenizer has 259 ids"):
        load_bundle(made)


def test_a_tokenizer_that_is_none_is_named(made: Path) -> None:
    (made / "tokenizer.json").write_text("{}", encoding="utf-8")
    sign(made)

    with pytest.raises(BundleError, match=r"tokenizer\.json"):
        load_bundle(made)


# What can be wrong with the weights, though the sums are right


def alter_weights(directory: Path, name: str, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    path = directory / f"{name}.safetensors"
    weights = load_file(path)
    change(weights)
    save_file(weights, path)
    sign(directory)


@pytest.mark.parametrize("name", ["generator", "discriminator"])
def test_missing_and_extra_weights_are_named(made: Path, name: str) -> None:
    alter_weights(made, name, lambda w: w.update({"brand.new": w.pop("trunk.encoder_norm.weight")}))

    with pytest.raises(
        BundleError, match=rf"{name}.*missing \['trunk\.encoder_norm\.weight'\], not expected \['brand\.new'\]"
    ):
        load_bundle(made)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (torch.ones(15), r"shape \[15\], expected \[16\]"),
        (torch.ones(16, 1), r"shape \[16, 1\], expected \[16\]"),
        (torch.full((16,), math.nan), "not finite"),
        (torch.full((16,), -math.inf), "not finite"),
        (torch.ones(16, dtype=torch.int64), "int64"),
        (torch.ones(16, dtype=torch.complex64), "complex64"),
        (torch.ones(16).to(torch.float8_e4m3fn), "float8"),
    ],
)
def test_weights_that_do_not_fit_are_named(made: Path, value: torch.Tensor, said: str) -> None:
    alter_weights(made, "generator", lambda w: w.update({"trunk.encoder_norm.weight": value}))

    with pytest.raises(BundleError, match=rf"trunk\.encoder_norm\.weight.*{said}"):
        load_bundle(made)


def test_weights_of_another_architecture_are_refused(made: Path, tokenizer: Tokenizer) -> None:
    def change(config: dict[str, Any]) -> None:
        other = {"recurrent": "transformer", "transformer": "recurrent"}
        config["generator"]["architecture"] = other[config["generator"]["architecture"]]

    change_config(made, change)

    with pytest.raises(BundleError, match="weights do not fit"):
        load_bundle(made)


def test_a_discriminator_that_config_forgets_is_not_loaded(made: Path) -> None:
    def change(config: dict[str, Any]) -> None:
        config["discriminator"] = None
        del config["files"]["discriminator.safetensors"]

    change_config(made, change)

    assert load_bundle(made).discriminator is None


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_damaged_weights_are_an_error_or_finite_numbers(original: Path, data: st.DataObject) -> None:
    directory = Path(shutil.copytree(original, original.parent / "damaged", dirs_exist_ok=True))
    path = directory / "generator.safetensors"
    content = bytearray(path.read_bytes())
    header = 8 + struct.unpack("<Q", content[:8])[0]
    for _ in range(data.draw(st.integers(1, 4))):
        # mostly in the header, where damage is interesting
        place = data.draw(st.one_of(st.integers(0, 15), st.integers(0, header), st.integers(0, len(content) - 1)))
        content[place] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.one_of(st.just(len(content)), st.integers(0, len(content))))])
    sign(directory)

    try:
        loaded = load_bundle(directory)
    except BundleError:
        return
    assert all(p.isfinite().all() for p in loaded.generator.parameters())


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["recurrent", 16, 2]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_config_changed_anywhere_is_an_error_or_loads(original: Path, data: st.DataObject) -> None:
    directory = Path(shutil.copytree(original, original.parent / "changed", dirs_exist_ok=True))

    def change(config: dict[str, Any]) -> None:
        key = data.draw(st.sampled_from(sorted(config)))
        if isinstance(config[key], dict) and config[key] and data.draw(st.booleans()):
            config = config[key]
            key = data.draw(st.sampled_from(sorted(config)))
        if data.draw(st.integers(0, 3)) == 0:
            del config[key]
        else:
            config[key] = data.draw(JSON)

    change_config(directory, change)

    try:
        loaded = load_bundle(directory)
    except BundleError:
        return
    assert type(loaded.limits.reply_tokens) is int


# What identifies a checkpoint


def test_the_digest_is_stable_and_does_not_depend_on_name_card_or_info(made: Path, tmp_path: Path) -> None:
    same = load_bundle(made)
    again = Bundle(same.generator, same.discriminator, same.tokenizer, same.limits, "another card", {"step": 4})
    save_bundle(again, tmp_path / "renamed")

    assert len(bundle_digest(made)) == 64
    assert bundle_digest(made) == bundle_digest(tmp_path / "renamed")


def test_the_digest_changes_with_weights_tokenizer_limits_and_judge(made: Path, tmp_path: Path) -> None:
    digests = [bundle_digest(made)]
    same = load_bundle(made)
    with torch.no_grad():
        same.generator.bias[5] += 1e-6
    other = Tokenizer.train(["zz xx yy vv qq " * 9], same.tokenizer.vocabulary_size)
    size = (CONTEXT_TOKENS, REPLY_TOKENS)
    for i, changed in enumerate(
        (
            same,
            Bundle(load_bundle(made).generator, None, same.tokenizer, Limits(*size)),
            Bundle(load_bundle(made).generator, same.discriminator, other, Limits(*size)),
            Bundle(load_bundle(made).generator, same.discriminator, same.tokenizer, Limits(CONTEXT_TOKENS - 1, 10)),
        )
    ):
        save_bundle(changed, tmp_path / str(i))
        digests.append(bundle_digest(tmp_path / str(i)))

    assert len(set(digests)) == 5


def test_every_fault_is_one_that_a_user_is_told_of() -> None:
    assert issubclass(BundleError, RejoinderError)
