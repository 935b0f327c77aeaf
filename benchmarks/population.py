"""A population of raters and contexts whose truth is known: what the coverage experiment draws its studies from.

Knows how simulated raters vote and what the true strengths are; fits nothing to votes.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import root

from app.statistics.battles import Battles, number_clusters
from app.statistics.quality import Conduct

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

EVEN, NEARLY_EVEN, BETTER, UNBEATEN, LOOSE = range(5)
NAMES = ("even", "nearly even", "better", "unbeaten", "loose")


@dataclass(frozen=True)
class Population:
    """Systems, and how raters and contexts differ.

    An honest rater says a when strength(a) - strength(b) + taste + context + a logistic error is above `indifference`,
    b when it is below minus that, and a tie between. Taste (of the rater) and context are normal, for each system by
    itself. The unbeaten system is so strong that it never loses.
    """

    strengths: tuple[float, ...] = (0.0, 0.1, 0.6, 60.0, 0.3)
    taste: float = 0.4
    by_context: float = 0.7
    indifference: float = 0.35

    def votes(self, differences: Floats) -> tuple[Floats, Floats]:
        """Return the chances that differences of strength, taste included, become votes for a, and for b."""
        return _logistic(differences - self.indifference), _logistic(-differences - self.indifference)

    def true_strengths(self, systems: list[int], met: Floats) -> Floats:
        """Return the strengths of Bradley and Terry's model for infinitely many honest votes, minus their mean.

        They lie nearer together than `strengths`: tastes and contexts blur every comparison. `met` [S, S] says how
        often each pair meets, since the model does not hold exactly for the blurred votes.
        """
        nodes, weights = np.polynomial.hermite_e.hermegauss(81)
        blur = np.sqrt(2 * (self.taste**2 + self.by_context**2))
        own = np.array([self.strengths[system] for system in systems])
        win, loss = self.votes((own[:, None] - own)[..., None] + blur * nodes)
        expected = ((win + (1 - win - loss) / 2) * weights).sum(axis=-1) / weights.sum()

        def gap(strengths: Floats) -> Floats:
            fitted = _logistic(strengths[:, None] - strengths)
            return np.asarray((met * (expected - fitted)).sum(axis=1) / met.sum() + strengths.mean())

        found = np.asarray(root(gap, own - own.mean(), tol=1e-12).x)
        return np.asarray(found - found.mean())


@dataclass(frozen=True)
class Design:
    """A study: who judges what how often."""

    honest: int = 26
    side_biased: int = 3
    """Raters who mostly take what stands on the left."""
    clickers: int = 1
    """Raters who do not read: any side, now and then a tie."""
    contexts: int = 120
    items_of_a_pair: int = 100
    most_loose_items: int = 24
    """The loose system meets one other only, in one item to so many, drawn for each study."""
    k: int = 3
    gold: int = 14
    """Control items with a known answer that each rater meets, and repeats with sides swapped."""
    repeats: int = 10
    same_system_items: int = 40

    @property
    def raters(self) -> int:
        """Return how many raters of all kinds there are."""
        return self.honest + self.side_biased + self.clickers

    def kind_of(self, rater: int) -> str:
        """Return what kind of rater number `rater` is."""
        if rater < self.honest:
            return "honest"
        return "side-biased" if rater < self.honest + self.side_biased else "clicker"


@dataclass(frozen=True)
class Votes:
    """The votes of one simulated study: arrays [N]. `choice` is 0 for a, 1 for a tie, 2 for b."""

    a: Integers
    b: Integers
    rater: Integers
    context: Integers
    choice: Integers
    a_on_the_left: npt.NDArray[np.bool_]

    def battles(self, kept: npt.NDArray[np.bool_]) -> Battles:
        """Return the votes of raters `kept` [R] as battles."""
        rows = kept[self.rater]
        return Battles(
            n_systems=len(NAMES),
            a=self.a[rows],
            b=self.b[rows],
            points_of_a=1 - self.choice[rows] / 2,
            rater=number_clusters(self.rater[rows]),
            context=number_clusters(self.context[rows]),
        )


@dataclass(frozen=True)
class Study:
    """One simulated study: the votes that count, those on A/A pairs, and what each rater did."""

    votes: Votes
    same_system: Votes
    conduct: list[Conduct]
    loose_items: int


def draw_study(population: Population, design: Design, rng: np.random.Generator) -> Study:
    """Return a study with new raters and new contexts."""
    n, systems = design.raters, len(population.strengths)
    taste = rng.normal(0, population.taste, (n, systems))
    by_context = rng.normal(0, population.by_context, (design.contexts, systems))
    loose = int(rng.integers(1, design.most_loose_items + 1))
    core = (EVEN, NEARLY_EVEN, BETTER, UNBEATEN)
    pairs = [(a, b) for a in core for b in core if a < b]
    item_pairs = np.array([pair for pair in pairs for _ in range(design.items_of_a_pair)] + [(BETTER, LOOSE)] * loose)
    rng.shuffle(item_pairs)
    # Each context carries as many items as any, give or take one, and no pair of systems twice more often than needed.
    contexts = np.resize(rng.permutation(design.contexts), len(item_pairs))
    a, b, context, rater = _assign(item_pairs, contexts, design, rng)
    left = rng.random(len(a)) < 0.5
    strengths = np.array(population.strengths)
    difference = (strengths + taste[rater] + by_context[context])[np.arange(len(a)), a]
    difference = difference - (strengths + taste[rater] + by_context[context])[np.arange(len(a)), b]
    choice = _choose(population, design, difference, rater, left, rng)
    votes = Votes(a, b, rater, context, choice, left)

    items = np.repeat(rng.integers(0, 4, design.same_system_items)[:, None], 2, axis=1)
    a, b, context, rater = _assign(items, np.resize(rng.permutation(design.contexts), len(items)), design, rng)
    left = rng.random(len(a)) < 0.5
    # Two replies of one system are not equally good: each has its own luck.
    luck = rng.normal(0, population.by_context, (len(items), 2)) @ np.array([1.0, -1.0])
    same = _choose(population, design, np.repeat(luck, design.k), rater, left, rng)
    return Study(
        votes, Votes(a, b, rater, context, same, left), _conduct(population, design, votes, difference, rng), loose
    )


def _assign(
    items: Integers, contexts: Integers, design: Design, rng: np.random.Generator
) -> tuple[Integers, Integers, Integers, Integers]:
    """Return a, b, context and rater of every vote: k different raters for each item, all equally busy."""
    raters = np.empty((len(items), design.k), np.int64)
    load = np.zeros(design.raters)
    for item in range(len(items)):
        raters[item] = np.argsort(load + rng.random(design.raters), kind="stable")[: design.k]
        load[raters[item]] += 1
    shown = np.repeat(items, design.k, axis=0)
    return shown[:, 0], shown[:, 1], np.repeat(contexts, design.k), raters.reshape(-1)


def _choose(
    population: Population,
    design: Design,
    difference: Floats,
    rater: Integers,
    left: npt.NDArray[np.bool_],
    rng: np.random.Generator,
) -> Integers:
    """Return the choices [N] for `difference` [N] in the eyes of each rater, whatever kind of rater that is."""
    chance = rng.random(len(difference))
    biased = (rater >= design.honest) & (rater < design.honest + design.side_biased)
    leaning = np.where(biased, np.where(left, 4.0, -4.0), 0.0)
    # What is judged hardly matters to a side-biased rater: even the unbeaten system must stand on the left.
    win, loss = population.votes(np.where(biased, np.clip(difference, -1, 1), difference) + leaning)
    choice = np.where(chance < win, 0, np.where(chance > 1 - loss, 2, 1))
    clicking = rater >= design.honest + design.side_biased
    return np.asarray(np.where(clicking, np.digitize(chance, [0.45, 0.55]), choice), np.int64)


def _conduct(
    population: Population, design: Design, votes: Votes, difference: Floats, rng: np.random.Generator
) -> list[Conduct]:
    """Return what each rater did: on gold, on repeats with sides swapped, and with the sides of all votes."""
    found = []
    for rater in range(design.raters):
        own = np.flatnonzero(votes.rater == rater)
        # Gold: a reply to the context against one to another. An honest rater errs now and then.
        left = rng.random(design.gold) < 0.5
        gold = _choose(population, design, np.full(design.gold, 2.8), np.full(design.gold, rater), left, rng)
        repeated = rng.choice(own, min(design.repeats, len(own)), replace=False)
        again = _choose(
            population, design, difference[repeated], votes.rater[repeated], ~votes.a_on_the_left[repeated], rng
        )
        choice, on_left = votes.choice[own], votes.a_on_the_left[own]
        took_left = int((((choice == 0) & on_left) | ((choice == 2) & ~on_left)).sum())
        found.append(
            Conduct(
                gold=design.gold,
                gold_right=int((gold == 0).sum()),
                repeats=len(repeated),
                repeats_agreeing=int((again == votes.choice[repeated]).sum()),
                left=took_left,
                right=int((choice != 1).sum()) - took_left,
            )
        )
    return found


def _logistic(x: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-np.clip(x, -500, 500))))
