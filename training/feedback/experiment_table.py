"""The result of the experiment with simulated raters as text. Knows the result; measures nothing."""

from typing import Any


def table(result: dict[str, Any]) -> str:
    """Return the result as text."""
    head = f"{'arm':<16}{'seed':>5}{'liked':>8}{'agrees':>8}{'(most)':>8}{'perpl.':>8}{'dist-2':>8}{'words':>7}"
    lines = [f"taste: {result['options']['taste']}", "", head]
    for row in result["rows"]:
        agrees = "-" if row["agreement"] is None else f"{row['agreement']:.3f}"
        most = "-" if row["most_agreement"] is None else f"{row['most_agreement']:.3f}"
        seed = "-" if row["seed"] is None else row["seed"]
        lines.append(
            f"{row['arm']:<16}{seed:>5}{row['liked']:>8.1%}{agrees:>8}{most:>8}{row['perplexity']:>8.1f}"
            f"{row['distinct_2']:>8.3f}{row['words']:>7.1f}"
        )
    lines += ["", "difference in the share of replies with what the raters like, points, 95 % interval, each seed"]
    for row in result["differences"]:
        each = ", ".join(f"{100 * value:+.1f}" for value in row["each"])
        lines.append(
            f"{row['arm'] + ' - ' + row['baseline']:<34}{100 * row['mean']:+6.1f}  "
            f"({100 * row['low']:+.1f} to {100 * row['high']:+.1f})  {each}"
        )
    return "\n".join(lines)
