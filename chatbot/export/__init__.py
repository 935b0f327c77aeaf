"""Bundles in the formats of others: Hugging Face transformers, CTranslate2, ONNX."""
