"""What exports are tested with: a bundle whose every weight matters, and the programs that their cards show."""

import re
import subprocess
import sys
from pathlib import Path

import torch

from chatbot.bundle import Bundle, Limits
from chatbot.generator.seq2seq import Seq2SeqGenerator
from chatbot.generator.trunk import Architecture, TrunkConfig
from chatbot.request import Decoding
from chatbot.tokenizer import Tokenizer

GOLDEN = Path(__file__).parents[2] / "golden"
DRAWN = Decoding(temperature=0.6, top_p=0.8)
LIMITS = Limits(context_tokens=120, reply_tokens=14)
HISTORIES = (
    ["hello"],
    ["hello", "hello, how are you?", "I am fine"],
    ["你好", "你好，你好吗？", "  我很好 \n 谢谢你。"],
    ["what do you like to eat? 😀"],
    ["a", "b"] * 11 + ["more turns than there are marks"],
)


def lively(architecture: Architecture, tokenizer: Tokenizer) -> Bundle:
    """Return a bundle all of whose weights, norms and biases included, are far from what they begin as."""
    torch.manual_seed(11)
    shape = TrunkConfig(architecture, 24, encoder_layers=2, decoder_layers=3, heads=3, feedforward=40)
    model = Seq2SeqGenerator(shape, tokenizer.vocabulary_size, LIMITS.context_tokens, LIMITS.reply_tokens).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.2 * torch.randn(parameter.shape)
    return Bundle(model, None, tokenizer, LIMITS, "# Lively\n", {}, DRAWN)


def run_the_example(directory: Path) -> str:
    """Run the program that an export's README.md shows, as its reader would, and return what it prints."""
    done = subprocess.run(
        [sys.executable, "-c", the_example(directory), directory], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def the_example(directory: Path) -> str:
    """Return the program that an export's README.md shows."""
    [code] = re.findall(r"```python\n(.*?)```", (directory / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    return str(code)
