"""What a person is told of the service's errors: its own English sentence, or in another language one for its code.

The interface stays English; only pages translate. An English sentence stands behind the translation where it names
something that the code alone does not: a line, a field, a limit.
"""

from dataclasses import dataclass
from typing import Final

WORDS: Final[dict[str, dict[str, str]]] = {
    "en": {"title": "Error"},
    "zh": {"title": "出错了"},
}

_CHINESE: Final = {
    # Addresses, forms, sessions
    "not_found": "这个地址没有内容。",
    "method_not_allowed": "这个地址不接受这种请求。",
    "foreign_form": "这个表单来自别的网站。请打开我们自己的页面。",
    "invalid_body": "收到的表单无法读取。",
    "invalid_json": "收到的内容不是可以读取的 JSON。",
    "body_too_large": "发送的内容太大。",
    "lone_surrogate": "文字里有无法保存的字符。",
    "packed_body": "请不要压缩发送的内容。",
    "invalid_api_key": "密钥无效：可能已被撤销或已过期。请重新登录。",
    "insufficient_scope": "这里需要另一种权限的密钥。",
    "key_not_found": "没有这个密钥。",
    "other_study": "这个浏览器里的评判身份属于另一个研究。请打开这个研究的邀请链接。",
    "no_session": "请先打开你的邀请链接。",
    "consent_required": "请先同意这个研究的说明。",
    # The service itself
    "internal_error": "服务出错了，错误已记入日志。",
    "database_unavailable": "数据库没有响应，什么都没有保存。请稍后再试。",
    "stopping": "服务正在停止。请稍后再试。",
    "storage": "文件无法保存：磁盘出错。",
    "log_in_use": "已删除，但数据库日志暂时还在使用。请再试一次。",
    # Writing replies
    "empty_message": "没有内容。",
    "message_too_long": "太长了。",
    "model_not_found": "这个模型没有加载。",
    "generation_failed": "模型处理这个请求时出错，错误已记入日志。",
    "engine_lost": "写回复的进程中断了，正在重新启动。请再试一次。",
    "rate_limit_exceeded": "请求太频繁。请稍后再试。",
    "queue_full": "现在请求太多。请稍后再试。",
    "queue_deadline": "等待太久，还没有轮到这个请求。请稍后再试。",
    "conversation_moved_on": "这个对话在另一个窗口里继续了。请刷新页面。",
    "conversation_not_found": "这里没有保存这个对话。",
    "reply_not_found": "这里没有保存这条回复。",
    "arena_too_small": "对战需要两个系统。请再加载一个模型。",
    "arena_closed": "有一个研究的短名就叫 arena，所以对战关闭了。",
    # Judging
    "lease_expired": "时间已经用完，这一条现在在别人手里，所以没有计入。",
    "lease_not_found": "这一条已经不属于你了，没有计入。",
    "skipped": "你已经跳过了这一条，所以没有计入。",
    "already_judged": "你已经评过这一条，原来的评判不变。",
    "already_revealed": "已经公布了名字，所以不能再改。",
    "not_judged": "这一条还没有评过。",
    "invitation_not_found": "没有这个邀请。请检查链接是否完整。",
    "invitation_revoked": "这个邀请已被撤回。请向研究者要新的链接。",
    "invitation_expired": "这个邀请已经过期。请向研究者要新的链接。",
    "invitation_full": "这个邀请的名额已满。请向研究者要另一个链接。",
    "study_not_found": "没有这个研究。",
    "study_not_running": "这个研究没有在进行。",
    "study_closed": "这个研究已经结束。",
    # Owning studies
    "study_exists": "已经有一个同样短名的研究。请换一个标题或短名。",
    "study_frozen": "这个研究已经开始，不能再改。",
    "study_empty": "这个研究还没有题目。",
    "study_gold": "有标准答案的题目和它的比例要么都有，要么都没有。",
    "item_not_found": "这个研究没有这一题。",
    "slug_missing": "标题里没有可以用在地址里的字母，请填写短名（小写字母、数字和连字符）。",
    "systems_missing": "请选择要比较的系统。",
    "systems_too_few": "成对比较至少需要两个系统。",
    "systems_not_human": "真人还是机器：需要真人回复和至少一个别的系统。",
    "contexts_missing": "没有剩下可用于普通题目的语境。请再加几行语境，或减少有标准答案的题数。",
    "contexts_unreadable": "语境里有一行无法读取。",
    "human_reply_missing": "要评判真人回复，每个语境都必须带有真人的回复。",
    "analysis_not_found": "没有这次分析。",
    # Files and batches
    "empty_file": "文件是空的。",
    "file_too_large": "文件太大。",
    "file_not_found": "没有这个文件。",
    "content_not_found": "文件内容不在这台机器上。",
    "batch_not_found": "没有这个批处理。",
    "batch_not_cancellable": "这个批处理已经结束，不能再停止。",
    "invalid_line": "必须是一个 JSON 对象。",
    "invalid_utf8": "不是 UTF-8 编码。",
    "line_too_long": "这一行太长。",
    "duplicate_custom_id": "custom_id 重复。",
    "too_many_requests": "文件里的请求太多。",
    # Fields
    "missing": "有一项没有填写。",
    "value_error": "有一项填写得不对。",
    "extra_forbidden": "有一项这里不认识。",
}
_OTHER_CHINESE: Final = {400: "有一项填写得不对。", 404: "没有找到。", 429: "现在请求太多。请稍后再试。"}
_ANY_CHINESE: Final = "服务没有接受这个请求。"

_SAY_ALL: Final = frozenset({
    "empty_message", "message_too_long", "model_not_found", "study_gold", "contexts_unreadable", "human_reply_missing",
    "study_not_found", "file_too_large", "body_too_large", "storage", "missing", "value_error", "extra_forbidden",
    "insufficient_scope", "invalid_body", "invalid_json", "duplicate_custom_id", "line_too_long", "too_many_requests",
})  # fmt: skip
"""Codes whose English sentence names more than the code does."""


@dataclass(frozen=True)
class Said:
    """An error in a visitor's language; `detail` is what only the service's English sentence says."""

    text: str
    detail: str = ""


def said(language: str, message: str, code: str | None, status: int = 400) -> Said:
    """Return what a visitor is told of an error with this English `message`."""
    if language == "en":
        return Said(message)
    known = _CHINESE.get(code or "")
    if known is None:
        return Said(_OTHER_CHINESE.get(status, _ANY_CHINESE), message)
    return Said(known, message if code in _SAY_ALL else "")


def sayings(language: str) -> dict[str, tuple[str, bool]]:
    """Return for a page's script what to say for each code, and whether the English sentence follows it.

    The empty code stands for all others. Empty where the service's own sentences are the visitor's.
    """
    if language == "en":
        return {}
    return {"": (_ANY_CHINESE, True), **{code: (text, code in _SAY_ALL) for code, text in _CHINESE.items()}}
