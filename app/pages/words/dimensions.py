"""The standard dimensions of a scale, and what 1, 3 and 5 mean on each."""

from typing import Final

from app.studies.protocol import STANDARD_DIMENSIONS

_CHINESE: Final = {
    "sensible": ("作为回答没有道理", "部分有道理，或要善意理解", "作为回答完全有道理"),
    "specific": ("几乎放在哪里都行", "和对话有些关系", "只适合这段对话"),
    "interesting": ("乏味，聊不下去", "不算乏味也不算有趣", "让人想继续聊"),
    "consistent": ("自相矛盾或与前文矛盾", "与前文不太协调", "与自身和前文都一致"),
    "fluent": ("语句不通", "能懂，但有错误", "语言无可挑剔"),
    "human_like": ("肯定是机器写的", "都有可能", "肯定是人写的"),
}

WORDS: Final[dict[str, dict[str, str]]] = {
    "en": {
        "dim_sensible": "makes sense",
        "dim_specific": "specific",
        "dim_interesting": "interesting",
        "dim_consistent": "consistent",
        "dim_fluent": "fluent",
        "dim_human_like": "human-like",
        **{
            f"anchor_{name}_{value}": text
            for name, anchors in STANDARD_DIMENSIONS.items()
            for value, text in anchors.items()
        },
    },
    "zh": {
        "dim_sensible": "有道理",
        "dim_specific": "具体",
        "dim_interesting": "有趣",
        "dim_consistent": "前后一致",
        "dim_fluent": "通顺",
        "dim_human_like": "像人",
        **{
            f"anchor_{name}_{value}": text
            for name, texts in _CHINESE.items()
            for value, text in zip(("1", "3", "5"), texts, strict=True)
        },
    },
}
