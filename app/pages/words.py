"""The pages' words in each language, and which language a visitor gets."""

import re
from typing import Final

WORDS: Final[dict[str, dict[str, str]]] = {
    "en": {
        "language": "English",
        "title": "Chat",
        "skip": "Skip to the message box",
        "new": "New conversation",
        "log": "Conversation",
        "you": "You",
        "welcome": "Say something.",
        "welcome_more": "The model answers with one short turn, like a person in a chat. Tell us what you think of it: "
        "a thumb under the reply is stored with the model that wrote it.",
        "opener_1": "Hi! How was your weekend?",
        "opener_2": "What do you like to read?",
        "opener_3": "I cannot decide what to cook tonight.",
        "message": "Message",
        "placeholder": "Write a message",
        "send": "Send",
        "model": "Model",
        "best": "Best of 4",
        "best_hint": "Draw four replies and show the one that the discriminator finds most human.",
        "up": "Good reply",
        "down": "Bad reply",
        "thinking": "is writing",
        "silence": "said nothing",
        "stored": "Thank you, stored.",
        "failed": "That did not work.",
        "failed_because": "That did not work:",
        "unreachable": "The service does not answer. Your message is still in the box.",
        "no_model": "No model is loaded yet",
        "no_model_more": "Train one on this machine, then start the service with the directory that holds it:",
        "broken": "These could not be loaded; the service's log says why:",
        "back": "Back to the chat",
    },
    "zh": {
        "language": "中文",
        "title": "聊天",
        "skip": "跳到输入框",
        "new": "新的对话",
        "log": "对话",
        "you": "你",
        "welcome": "说点什么吧。",
        "welcome_more": "模型会像聊天的人一样，用简短的一句话回应。"
        "觉得怎么样？点一下回复下面的拇指，评价会连同写出它的模型一起保存。",
        "opener_1": "你好！周末过得怎么样？",
        "opener_2": "你喜欢看什么书？",
        "opener_3": "今晚不知道该做什么菜。",
        "message": "消息",
        "placeholder": "写一条消息",
        "send": "发送",
        "model": "模型",
        "best": "四选一",
        "best_hint": "生成四条回复，显示判别器认为最像人写的一条。",
        "up": "好的回复",
        "down": "不好的回复",
        "thinking": "正在输入",
        "silence": "没有说话",
        "stored": "谢谢，已保存。",
        "failed": "没有成功。",
        "failed_because": "没有成功：",
        "unreachable": "服务没有响应。你的消息还在输入框里。",
        "no_model": "还没有加载模型",
        "no_model_more": "先在这台机器上训练一个模型，然后用存放它的目录启动服务：",
        "broken": "以下模型无法加载，原因见服务日志：",
        "back": "回到聊天",
    },
}

DEFAULT: Final = "en"


def choose_language(asked: str, accept: str) -> str:
    """Return the language that the address asks for, else the one the browser likes best, else English."""
    wishes: list[tuple[float, str]] = []
    for part in accept[:500].split(","):
        tag, _, parameters = part.partition(";")
        quality = parameters.strip().removeprefix("q=") or "1"
        if re.fullmatch(r"[01](\.\d{1,3})?", quality) and float(quality) > 0:
            wishes.append((float(quality), tag))
    wishes.sort(key=lambda wish: -wish[0])
    for tag in (asked, *(tag for _, tag in wishes)):
        language = tag.strip().lower().split("-")[0]
        if language in WORDS:
            return language
    return DEFAULT
