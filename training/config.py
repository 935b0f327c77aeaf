"""What a run is: one frozen tree of settings with their defaults. `composition` puts it together."""

from dataclasses import dataclass, field, fields, replace
from typing import Final, Literal

from chatbot.generator.pretrained import Adapters
from chatbot.generator.prompt import Turns
from chatbot.generator.trunk import Architecture, TrunkConfig

Stage = Literal["mle", "discriminator", "backward", "adversarial"]
System = Literal["cseqgan", "gan", "wgan", "gumbel", "judged"]
"""What the adversarial stage is: see `training.systems`."""
RELAXED: Final[tuple[System, ...]] = ("gan", "wgan", "gumbel")
"""Systems whose gradient goes through D into the generator: both read distributions in place of tokens."""


@dataclass(frozen=True)
class DataConfig:
    """Say how pairs become batches."""

    context_tokens: int = 64
    reply_tokens: int = 32
    """Longer replies are cut here, in training and in evaluation alike."""


@dataclass(frozen=True)
class GeneratorConfig(TrunkConfig):
    """Say what the generator is: a trunk of our own with its sizes, or a pretrained language model.

    Of a pretrained one the sizes are the language model's own, and it learns without dropout.
    """

    architecture: Literal[Architecture, "pretrained"] = "transformer"  # type: ignore[assignment]  # wider
    path: str = ""
    """Pretrained: a directory, a GGUF file, or a name on the Hugging Face hub."""
    turns: Turns = "auto"
    """Pretrained: turns stand in the model's chat template, or plainly, each ended by its end token."""
    tuning: Literal["lora", "full"] = "lora"
    """Pretrained: low-rank adapters learn, or all weights."""
    lora: Adapters = field(default_factory=Adapters)
    bf16: bool = False
    """Pretrained with adapters: frozen weights are kept in 16 bits, half the memory."""
    checkpointing: bool = False
    """Pretrained: layers are computed again on the way back instead of kept: less memory, about a third more time."""

    def trunk(self) -> TrunkConfig:
        """Return the shape of a trunk of our own."""
        return TrunkConfig(**{f.name: getattr(self, f.name) for f in fields(TrunkConfig)})

    def shaped(self, trunk: TrunkConfig) -> "GeneratorConfig":
        """Return this config with the shape of `trunk`."""
        return replace(self, **{f.name: getattr(trunk, f.name) for f in fields(TrunkConfig)})


@dataclass(frozen=True)
class MLEConfig:
    """Say how the generator learns by teacher forcing."""

    steps: int = 20_000
    minutes: float = 0.0
    """End the stage after this time, the learning rate falling accordingly; 0 is no limit."""
    batch: int = 64
    learning_rate: float = 1e-3
    warmup: int = 200
    weight_decay: float = 0.01
    clip: float = 1.0
    parts: int = 1
    """Parts of a batch whose gradients are added up one after the other: less memory, the same step."""
    evaluate_every: int = 1000


@dataclass(frozen=True)
class DiscriminatorConfig:
    """Say how the discriminator learns."""

    shape: TrunkConfig = field(default_factory=lambda: TrunkConfig(dropout=0.3))
    pretrained: bool = True
    """Beside a pretrained generator: D reads with the frozen language model, and only a head of `shape`'s width learns.

    Off, D is a trunk of `shape` that begins with nothing.
    """
    from_generator: bool = False
    """D's trunk begins as a copy of the generator's, after maximum likelihood; of `shape` only the dropout counts."""
    steps: int = 500
    """Steps of the pretraining stage."""
    minutes: float = 0.0
    batch: int = 64
    """Contexts of one step; the mixed batch has 2.5 replies for each of them."""
    learning_rate: float = 5e-4
    weight_decay: float = 0.05
    clip: float = 1.0
    real_label: float = 0.9
    """One-sided label smoothing (Salimans et al. 2016)."""
    pairwise: float = 1.0
    """Weight of the Bradley-Terry term on (real, fake) of the same context."""
    mismatched: float = 0.5
    """Human replies to other contexts, called machine-made, for each human reply; at most 1, and 0 without contexts."""
    skip_above: float = 0.80
    """Held-out accuracy above which D rests."""
    extra_below: float = 0.60
    """Held-out accuracy below which D takes two steps more."""
    replay: int = 4096
    """Old fakes kept."""
    held_out: int = 512
    """Validation pairs that D is measured on, at most; it never learns from them."""
    evaluate_every: int = 100
    """Steps of the pretraining stage between two measures; it ends with the weights that were best held out."""


@dataclass(frozen=True)
class AdversarialConfig:
    """Say how the generator learns from the discriminator."""

    steps: int = 500
    minutes: float = 0.0
    contexts: int = 64
    samples: int = 8
    """Replies drawn for each context, K."""
    learning_rate: float = 5e-5
    clip: float = 1.0
    credit: Literal["step", "final", "mc", "regs"] = "step"
    """What a token earns: `step` and `final` from D's logits, `mc` by rollouts, `regs` D's score of the prefix itself.

    With `regs` D learns from one random prefix of each reply (reward for every generation step, Li et al. 2017).
    """
    rollouts: int = 16
    """Rollouts for each prefix, N; credit mc only."""
    baseline: Literal["loo", "ema", "critic", "none"] = "loo"
    critic_learning_rate: float = 1e-3
    """Baseline critic only."""
    reward: Literal["discriminator", "constant", "noise"] = "discriminator"
    """`constant` and `noise` are placebos: what they reach, the discriminator did not add."""
    discount: float = 0.5
    dense_weight: float = 0.5
    reward_clip: float = 5.0
    advantage_clip: float = 3.0
    kl: float = 0.02
    """Weight of KL to the frozen MLE model at the start."""
    kl_target: float = 0.03
    """Nats per token that the weight is adapted towards."""
    teacher_forcing: float = 0.5
    """Weight of the cross-entropy of human replies at the start."""
    teacher_forcing_end: float = 0.1
    discriminator_steps: int = 1
    """D steps for each G step, before the accuracy gate."""
    evaluate_every: int = 25


@dataclass(frozen=True)
class GanConfig:
    """Say what the generator of the `gan` recipe descends."""

    loss: Literal["minimax", "non-saturating"] = "minimax"


@dataclass(frozen=True)
class WganConfig:
    """Say how the critic of the `wgan` recipe is kept from growing steep."""

    penalty: Literal["gp", "div"] = "gp"
    """`gp` holds its slope at 1 (WGAN-GP), `div` punishes steepness alone (WGAN-div)."""


@dataclass(frozen=True)
class GumbelConfig:
    """Say how the `gumbel` recipe relaxes its samples."""

    temperature: float = 1.0
    """At the start of the stage; it falls by the same factor in every step."""
    temperature_end: float = 0.5
    straight_through: bool = True
    """D and the generator read one-hot samples, and only gradients are those of the relaxed ones."""


@dataclass(frozen=True)
class JudgedConfig:
    """Say how two bots talk to each other and what the judge that never learns thinks of it: the system `judged`."""

    turns: int = 4
    """Simulated turns of a dialogue, at most; they begin with two and grow to these."""
    discount: float = 0.9
    """What the turn after a turn counts in its return."""
    ease: float = 0.25
    """Weight of how unlikely a dull answer is. Each part's returns are standardised before they are weighed."""
    flow: float = 0.25
    """Weight of saying something else than in the turn before of the same speaker."""
    coherence: float = 0.5
    """Weight of fitting the context, as the MLE model and the backward model see it."""
    mutual: float = 0.0
    """Weight of being expected after the last turn and not after a dull one, as the MLE model sees it."""
    likelihood: float = 0.0
    """Weight of how likely the model `teacher` finds what is said (on-policy distillation, Gu et al. 2023)."""
    teacher: str = ""
    """Bundle, usually of a large language model; its tokenizer may be another."""
    discriminator: float = 0.5
    """Weight of the discriminator, which stays as it was pretrained."""
    backward: float = 0.5
    """Length of the backward stage, as a share of the mle stage's steps and minutes."""


@dataclass(frozen=True)
class FeedbackConfig:
    """Say how the discriminator learns what people said of replies; it counts only where a run is given feedback.

    `rejoinder bench feedback --set feedback.OPTION=VALUE` varies each of these and measures what it does.
    """

    preference: float = 4.0
    """Weight of the Bradley-Terry term on (chosen, rejected), beside the term on (real, fake) with its `pairwise`.

    At 1 the experiment saw no effect and at 4 a large one, but its rate and steps differed too: see docs/results.
    """
    batch: int = 64
    """Preferences of one step of D."""
    thumbs: float = 0.25
    """Thumbed replies in D's mixed batch for each human one, as many up as down where there are both."""
    held_out: float = 0.2
    """Share of the contexts whose preferences D is measured on; it never learns from them."""
    shuffled: bool = False
    """The placebo: who was preferred, and whose thumb was up, is shuffled before D learns from it."""


@dataclass(frozen=True)
class EvaluationConfig:
    """Say what is looked at during training."""

    pairs: int = 4000
    """Validation pairs whose likelihood is measured, at most."""
    probe: int = 256
    """Contexts answered at every evaluation, at temperature 1."""
    shown: int = 8
    """Of these, how many are written down for people to read."""


@dataclass(frozen=True)
class Config:
    """Hold everything that decides a run's result, data apart."""

    stages: tuple[Stage, ...] = ("mle",)
    system: System = "cseqgan"
    """What the adversarial stage does; the recipe says it."""
    start: str = ""
    """Bundle to start from instead of nothing; the mle stage is then left out of an adversarial recipe."""
    seed: int = 0
    device: str = "auto"
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    save_every: int = 200
    """Steps between two saves of the run state; a killed run loses at most these."""
    data: DataConfig = field(default_factory=DataConfig)
    generator: GeneratorConfig = field(default_factory=GeneratorConfig)
    mle: MLEConfig = field(default_factory=MLEConfig)
    discriminator: DiscriminatorConfig = field(default_factory=DiscriminatorConfig)
    adversarial: AdversarialConfig = field(default_factory=AdversarialConfig)
    gan: GanConfig = field(default_factory=GanConfig)
    wgan: WganConfig = field(default_factory=WganConfig)
    gumbel: GumbelConfig = field(default_factory=GumbelConfig)
    judged: JudgedConfig = field(default_factory=JudgedConfig)
    feedback: FeedbackConfig = field(default_factory=FeedbackConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
