"""The pages of the models: their cards, how they were trained, what people say of them, what they said on the way."""
