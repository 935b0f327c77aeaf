"""The page that asks for a key."""

from typing import Final

WORDS: Final[dict[str, dict[str, str]]] = {
    "en": {
        "title": "Sign in",
        "why": "This service is open to those who have a key. Whoever runs it gives you one.",
        "invited": "You were invited to judge replies? Open the link of your invitation; you need no key.",
        "key": "Key",
        "enter": "Sign in",
        "wrong": "This key does not work: it is mistyped, revoked, or has expired.",
    },
    "zh": {
        "title": "登录",
        "why": "只有持有密钥的人才能使用这项服务。密钥由服务的管理者发放。",
        "invited": "你是受邀来评判回复的吗？请直接打开邀请链接，不需要密钥。",
        "key": "密钥",
        "enter": "登录",
        "wrong": "这个密钥无效：可能输错了，也可能已被撤销或已过期。",
    },
}
