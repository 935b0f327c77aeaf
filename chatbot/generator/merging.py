"""What a pretrained generator has learnt, in the language model's own weights: for serving and for export."""

import copy
from collections import Counter
from importlib import import_module
from typing import Any

import torch

from chatbot.errors import LanguageModelError
from chatbot.generator.pretrained import PretrainedGenerator


@torch.no_grad()
def merged(generator: PretrainedGenerator) -> Any:
    """Return a copy of the library's model with what the adapters add in its weights.

    Raises LanguageModelError where an adapter stands on weights that another layer has, too.
    """
    network = generator.trunk.network
    if generator.adapters is None:
        return copy.deepcopy(network)
    layers: Any = import_module("peft.tuners.lora")  # partly typed
    whole = generator.language_model.twin(sharing=False)
    owners = Counter(id(parameter) for _, parameter in whole.named_parameters(remove_duplicate=False))
    for name, module in network.named_modules():
        if not isinstance(module, layers.LoraLayer):
            continue
        weight = whole.get_submodule(name).weight
        if owners[id(weight)] > 1:
            raise LanguageModelError(f"the adapter on {name} cannot be merged: another layer has the same weights")
        for adapter in module.active_adapters:
            weight += module.get_delta_weight(adapter).to(weight.dtype)
    return whole
